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
if redis.call('SCARD', children) > 0 or redis.call('ZCARD', unsuccessful) > 0 then
  return {-6, redis.call('SCARD', children) + redis.call('ZCARD', unsuccessful) .. ''}
end
local priority = tonumber(redis.call('HGET', job, 'priority') or '0') or 0
local counter = redis.call('GET', KEYS[12]) or '0'
if not (counter == '0' or string.match(counter, '^[1-9]%d*$')) or #counter > 18 then return {-3, KEYS[12]} end
-- a parent that has gone on without this child must not wait for it
local joins = false
if parent ~= '' and parent == ARGV[9] .. ':' .. ARGV[10] then
  for _, place in ipairs({ARGV[9] .. ':waiting-children', ARGV[9] .. ':failed'}) do
    if not is(place, 'zset') then return {-3, place} end
    if redis.call('ZSCORE', place, ARGV[10]) then joins = place end
  end
end
local was = {fields = {}}
for _, name in ipairs({'finishedOn', 'processedOn', 'failedReason', 'atm', 'ats', 'attemptsMade',
    ARGV[12] == '1' and 'data' or nil}) do
  was.fields[name] = redis.call('HGET', job, name) or nil
end

note()
local state = redis.call('HMGET', KEYS[5], 'paused', 'concurrency')
local most = tonumber(state[2] or '')
local idle = state[1] or (most and redis.call('LLEN', KEYS[9]) >= most)
local target, pushed
if priority > 0 then
  target = 'prioritized'
  local place = redis.call('INCR', KEYS[12]) % 0x100000000
  pushed = redis.pcall('ZADD', KEYS[11], string.format('%.0f', priority * 0x100000000 + place), id)
elseif state[1] then
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
redis.call('HDEL', job, 'finishedOn', 'processedOn', 'failedReason')
if ARGV[7] == '1' then
  redis.call('HDEL', job, 'atm', 'ats', 'attemptsMade')
elseif redis.call('HEXISTS', job, 'atm') == 1 then
  redis.call('HDEL', job, 'attemptsMade') -- by hand: it hides atm, and the job would be tried for ever
end
if ARGV[12] == '1' then redis.call('HSET', job, 'data', ARGV[13]) end
if not idle then redis.call('ZADD', KEYS[10], 0, '0') end
if joins then
  was.parent, was.place, was.id = parent, joins, ARGV[10]
  was.unsuccessful = redis.call('ZSCORE', parent .. ':unsuccessful', job) or nil
  was.ignored = redis.call('HGET', parent .. ':failed', job) or nil
  local left = redis.call('ZREM', parent .. ':unsuccessful', job) + redis.call('HDEL', parent .. ':failed', job)
  if left > 0 then redis.call('SADD', parent .. ':dependencies', job) end
end
was.seal = seal(job)
redis.pcall('SET', KEYS[13], cmsgpack.pack(was), 'EX', ARGV[11])
tell('event', 'waiting', 'jobId', id, 'prev', 'failed')
return {1, target, state[1] and '1' or '0'}
