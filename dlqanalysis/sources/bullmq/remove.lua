-- Takes a failed job out: away for good, or aside, from where restore.lua brings it back as it was.
--
-- KEYS  7 quarantine
-- ARGV  7 aside: where its keys lie in quarantine; empty: away   8 the id of its deduplication
if redis.call('SCARD', children) > 0 then return {-6, redis.call('SCARD', children) .. ''} end
if parent ~= '' and (redis.call('SISMEMBER', parent .. ':dependencies', job) == 1
    or redis.call('ZSCORE', parent .. ':unsuccessful', job)) then
  return {-7, parent}
end
if not is(KEYS[7], 'zset') then return {-3, KEYS[7]} end
local parts = {'', ':logs', ':dependencies', ':processed', ':failed', ':unsuccessful'}
if ARGV[7] ~= '' then
  for _, part in ipairs(parts) do
    if redis.call('EXISTS', ARGV[7] .. part) == 1 then return {-3, ARGV[7] .. part} end
  end
end
local unique = base .. 'de:' .. ARGV[8]
if ARGV[8] ~= '' and not is(unique, 'string') then return {-3, unique} end

note()
if ARGV[7] ~= '' then
  redis.call('ZADD', KEYS[7], ARGV[2], id)
  for _, part in ipairs(parts) do
    if redis.call('EXISTS', job .. part) == 1 then redis.call('RENAME', job .. part, ARGV[7] .. part) end
  end
else
  for _, part in ipairs(parts) do redis.call('UNLINK', job .. part) end -- DEL of a long log would block
  if ARGV[8] ~= '' and redis.call('GET', unique) == id then
    redis.call('DEL', unique, base .. 'dn:' .. ARGV[8]) -- left behind, what waits there would run after some later job
  end
end
redis.call('ZREM', failed, id)
tell('event', 'removed', 'jobId', id, 'prev', 'failed')
return {1, ''}
