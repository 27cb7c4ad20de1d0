-- In front of every script: the ledger, which knows what was done, and BullMQ's events.
-- Error replies after a write are not rolled back, so that all checks come before the first write.
--
-- KEYS  3 ledger of this month  4 ledger of the last month  5 meta  6 events
-- ARGV  3 token (action|run|milliseconds): what the ledger notes  4 field of the ledger; empty: note nothing
--       6 seconds that the ledger lives
-- Gives {code, what is known}:
--   1 done now   2 done before (the token)   0 not there   -1 the job is gone   -2 failed again (the score)
--   -3 a key of another type   -4 another content   -5 a worker has or had it   -6 children first
--   -7 its parent   -8 it stands in a second place   -9 another run did it (the token)
--   -10 what has to be put back is not kept   -11 no such queue
for n = 3, 5 do
  if not is(KEYS[n], 'hash') then return {-3, KEYS[n]} end
end
if not is(KEYS[6], 'stream') then return {-3, KEYS[6]} end
local known = ARGV[4] ~= '' and (redis.call('HGET', KEYS[3], ARGV[4]) or redis.call('HGET', KEYS[4], ARGV[4])) or ''
local function deed(token)
  return string.match(token, '^(.*)|%d+$') or token
end
if known ~= '' and deed(known) == deed(ARGV[3]) then return {2, known} end

local function did(action, run)
  -- whether the last thing the ledger knows is this, of this run or (empty) of any
  local start = action .. '|' .. (run ~= '' and run .. '|' or '')
  return known:sub(1, #start) == start
end
local function note()
  -- the first write: when memory is full Redis refuses it, and with it all the others
  if ARGV[4] == '' then return end
  redis.call('HSET', KEYS[3], ARGV[4], ARGV[3])
  if not shared[KEYS[3]] then redis.call('EXPIRE', KEYS[3], ARGV[6]) end
  shared[KEYS[3]] = true
end
local function forget()
  redis.call('HDEL', KEYS[3], ARGV[4])
  if known ~= '' then redis.call('HSET', KEYS[3], ARGV[4], known) end
end
local function tell(...)
  -- a job that was moved has been moved, whether or not BullMQ's events can be told of it
  local most = shared[KEYS[5]]
  if not most then
    most = tonumber(redis.call('HGET', KEYS[5], 'opts.maxLenEvents') or '')
    if not (most and most >= 0 and most <= 1e9) then most = 10000 end
    shared[KEYS[5]] = most
  end
  redis.pcall('XADD', KEYS[6], 'MAXLEN', '~', string.format('%d', most), '*', ...)
end
local function sealed(values)
  -- what of a job must not change between a look and a script, as one short text
  local text = ''
  for n = 1, 5 do
    text = text .. (values[n] and (#values[n] .. ':' .. values[n]) or '-')
  end
  return redis.sha1hex(text)
end
local function seal(job)
  return sealed(redis.call('HMGET', job, 'name', 'data', 'opts', 'priority', 'parentKey'))
end
