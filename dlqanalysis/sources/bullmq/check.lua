-- What every action asks before it writes: goes in front of replay.lua and remove.lua.
-- Error replies after a write are not rolled back, so that all checks come before the first write.
--
-- KEYS  1 job  2 failed  3 ledger of this month  4 ledger of the last month  5 meta  6 events
-- ARGV  1 job id  2 score  3 token: what the ledger notes  4 field of the ledger  5 sha1 of what was read
--       6 seconds that the ledger lives
-- Gives {code, what is known}:
--   1 done now   2 done before (the token)   0 not in failed   -1 the job is gone   -2 failed again (the score)
--   -3 a key of another type   -4 another content   -5 a worker holds it   -6 children first   -7 a parent waits
local function is(key, kind)
  local have = redis.call('TYPE', key).ok
  return have == 'none' or have == kind
end

local job, failed, ledger = KEYS[1], KEYS[2], KEYS[3]
local id = ARGV[1]
for _, key in ipairs({KEYS[3], KEYS[4], KEYS[5]}) do
  if not is(key, 'hash') then return {-3, key} end
end
local done = redis.call('HGET', KEYS[3], ARGV[4]) or redis.call('HGET', KEYS[4], ARGV[4])
if done then return {2, done} end
if not is(failed, 'zset') then return {-3, failed} end
if not is(KEYS[6], 'stream') then return {-3, KEYS[6]} end
local score = redis.call('ZSCORE', failed, id)
if not score then return {0, tostring(redis.call('EXISTS', job))} end
if score ~= ARGV[2] then return {-2, score} end
if not is(job, 'hash') then return {-3, job} end
local missing = redis.call('EXISTS', job) == 0
if redis.call('EXISTS', job .. ':lock') == 1 then return {-5, ''} end
if ARGV[5] ~= '' then
  local parts = redis.call('HMGET', job, 'name', 'data', 'opts', 'priority', 'parentKey')
  local text = ''
  for n = 1, 5 do
    text = text .. (parts[n] and (#parts[n] .. ':' .. parts[n]) or '-')
  end
  if redis.sha1hex(text) ~= ARGV[5] then return {-4, ''} end
end
local children, unsuccessful = job .. ':dependencies', job .. ':unsuccessful'
if not is(children, 'set') then return {-3, children} end
if not is(unsuccessful, 'zset') then return {-3, unsuccessful} end
local parent = (not missing) and redis.call('HGET', job, 'parentKey') or ''
if parent ~= '' and redis.call('EXISTS', parent) == 0 then parent = '' end
if parent ~= '' then
  if not is(parent .. ':dependencies', 'set') then return {-3, parent .. ':dependencies'} end
  if not is(parent .. ':unsuccessful', 'zset') then return {-3, parent .. ':unsuccessful'} end
  if not is(parent .. ':failed', 'hash') then return {-3, parent .. ':failed'} end
end
local function note()
  -- the first write: when memory is full Redis refuses it, and with it all the others
  redis.call('HSET', ledger, ARGV[4], ARGV[3])
  redis.call('EXPIRE', ledger, ARGV[6])
end
local function tell(...)
  local most = tonumber(redis.call('HGET', KEYS[5], 'opts.maxLenEvents')) or 10000
  redis.call('XADD', KEYS[6], 'MAXLEN', '~', string.format('%d', most), '*', ...)
end
