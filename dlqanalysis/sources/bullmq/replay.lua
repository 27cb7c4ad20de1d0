-- Puts a failed job back, as BullMQ's own retry does, with its priority, its place and its parent kept.
-- What it takes out of the job it keeps for undo.lua.
--
-- KEYS  7 wait  8 paused  9 active  10 marker  11 prioritized  12 pc  13 what undo needs
-- ARGV  7 attempts anew (1, 0)  8 LPUSH, or RPUSH for a job that was added with lifo  9 queue of the parent
--       10 id of the parent  11 seconds that undo stays possible  12 whether the data are repaired (1, 0)
--       13 the data then
if missing then return {-1, ''} end
if not is(KEYS[10], 'zset') then return {-3, KEYS[10]} end
if not is(KEYS[12], 'string') then return {-3, KEYS[12]} end
local left = below and redis.call('SCARD', children) + redis.call('ZCARD', unsuccessful) or 0
if left > 0 then return {-6, left .. ''} end
local priority = tonumber(have[4] or '0') or 0
if not shared[KEYS[12]] then -- it only counts up from here
  local counter = redis.call('GET', KEYS[12]) or '0'
  if not (counter == '0' or string.match(counter, '^[1-9]%d*$')) or #counter > 18 then return {-3, KEYS[12]} end
  shared[KEYS[12]] = true
end
-- a parent that has gone on without this child must not wait for it
local joins = false
if parent ~= '' and parent == ARGV[9] .. ':' .. ARGV[10] then
  for _, place in ipairs({ARGV[9] .. ':waiting-children', ARGV[9] .. ':failed'}) do
    if not is(place, 'zset') then return {-3, place} end
    if redis.call('ZSCORE', place, ARGV[10]) then joins = place end
  end
end
local was = {fields = {}}
for n = 6, #names do was.fields[names[n]] = have[n] or nil end
if ARGV[12] == '1' then was.fields.data = have[2] or nil end

note()
local state = shared[KEYS[9]] -- of the queue: nothing here changes it
if not state then
  local told = redis.call('HMGET', KEYS[5], 'paused', 'concurrency')
  local most = tonumber(told[2] or '')
  state = {paused = told[1], idle = told[1] or (most and redis.call('LLEN', KEYS[9]) >= most)}
  shared[KEYS[9]] = state
end
local target, pushed
if priority > 0 then
  target = 'prioritized'
  local place = redis.call('INCR', KEYS[12]) % 0x100000000
  pushed = redis.pcall('ZADD', KEYS[11], string.format('%.0f', priority * 0x100000000 + place), id)
elseif state.paused then
  target = 'paused' -- 5 resumes this list and forgets `wait`; 6 takes both
  pushed = redis.pcall(ARGV[8], KEYS[8], id)
else
  target = 'wait'
  pushed = redis.pcall(ARGV[8], KEYS[7], id)
end
if type(pushed) == 'table' then -- refused: the job stays where it was
  forget()
  return pushed
end
redis.call('ZREM', failed, id)
-- attemptsMade beside atm was set by hand: it hides atm, and the job would be tried for ever
local by_hand = was.fields.atm and was.fields.attemptsMade
redis.call('HDEL', job, unpack(names, 6, ARGV[7] == '1' and 11 or by_hand and 9 or 8))
if ARGV[12] == '1' then redis.call('HSET', job, 'data', ARGV[13]) end
if not state.idle and not shared[KEYS[10]] then -- no worker comes between
  redis.call('ZADD', KEYS[10], 0, '0')
  shared[KEYS[10]] = true
end
if joins then
  was.parent, was.place, was.id = parent, joins, ARGV[10]
  was.unsuccessful = redis.call('ZSCORE', parent .. ':unsuccessful', job) or nil
  was.ignored = redis.call('HGET', parent .. ':failed', job) or nil
  local stood = redis.call('ZREM', parent .. ':unsuccessful', job) + redis.call('HDEL', parent .. ':failed', job)
  if stood > 0 then redis.call('SADD', parent .. ':dependencies', job) end
end
was.seal = ARGV[12] == '1' and seal(job) or ARGV[5]
redis.pcall('SET', KEYS[13], cmsgpack.pack(was), 'EX', ARGV[11])
tell('event', 'waiting', 'jobId', id, 'prev', 'failed')
return {1, target, state.paused and '1' or '0'}
