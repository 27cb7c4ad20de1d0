-- Pauses or resumes a queue so that workers of BullMQ 5 and 6 agree, whoever ends it.
--
-- While paused, all that waits lies in `paused`: 5 renames that list back, over a `wait` that it does not look
-- at; 6 takes both.
-- KEYS  1 wait  2 paused  3 meta  4 prioritized  5 events  6 delayed  7 marker  8 our note that we paused
-- ARGV  1 pause, resume  2 token  3 how many jobs to move at most
-- Gives {1, jobs still to move} done, {0, ''} it was paused (or resumed) already, {-3, key} another type.
for n, kind in ipairs({'list', 'list', 'hash', 'zset', 'stream', 'zset', 'zset', 'string'}) do
  local have = redis.call('TYPE', KEYS[n]).ok
  if have ~= 'none' and have ~= kind then return {-3, KEYS[n]} end
end
local most = tonumber(ARGV[3])
local function merge(from, to)
  -- the oldest of both is at the right end; what comes from `from` is older
  if redis.call('EXISTS', from) == 0 then return 0 end
  if redis.call('EXISTS', to) == 0 then redis.call('RENAME', from, to) return 0 end
  local jobs = redis.call('LRANGE', from, 0, most - 1)
  redis.call('RPUSH', to, unpack(jobs))
  redis.call('LTRIM', from, #jobs, -1)
  return redis.call('LLEN', from)
end
local paused = redis.call('HEXISTS', KEYS[3], 'paused') == 1
if ARGV[1] == 'pause' then
  local mine = redis.call('GET', KEYS[8]) == ARGV[2]
  if paused and not mine then return {0, ''} end
  if not paused then
    redis.call('SET', KEYS[8], ARGV[2])
    redis.call('HSET', KEYS[3], 'paused', 1)
    redis.call('DEL', KEYS[7])
    redis.call('XADD', KEYS[5], '*', 'event', 'paused')
  end
  return {1, merge(KEYS[1], KEYS[2])}
end
if not paused and redis.call('EXISTS', KEYS[2]) == 0 then
  redis.call('DEL', KEYS[8])
  return {0, ''}
end
if paused then
  redis.call('HDEL', KEYS[3], 'paused')
  redis.call('XADD', KEYS[5], '*', 'event', 'resumed')
end
local left = merge(KEYS[2], KEYS[1])
if left == 0 then redis.call('DEL', KEYS[8]) end
if redis.call('LLEN', KEYS[1]) > 0 or redis.call('ZCARD', KEYS[4]) > 0 then
  redis.call('ZADD', KEYS[7], 0, '0')
else
  local first = redis.call('ZRANGE', KEYS[6], 0, 0, 'WITHSCORES')
  if first[2] then redis.call('ZADD', KEYS[7], first[2] / 0x1000, '1') end
end
return {1, left}
