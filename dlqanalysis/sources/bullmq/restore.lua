-- Brings a job back from quarantine into `failed`, with the score it had.
--
-- KEYS  1 job  2 failed  3 quarantine  4 its key in quarantine  5 ledger of this month  6 ledger of the last
-- ARGV  1 job id  2 score  3 field of the ledger
-- Gives {1} done, {0} it is not there, {-3, key} a key is in the way or of another type.
local score = redis.call('ZSCORE', KEYS[3], ARGV[1])
if not score or score ~= ARGV[2] then return {0, score or ''} end
local kind = redis.call('TYPE', KEYS[2]).ok
if kind ~= 'zset' and kind ~= 'none' then return {-3, KEYS[2]} end
if redis.call('ZSCORE', KEYS[2], ARGV[1]) then return {-3, KEYS[2]} end
local parts = {'', ':logs', ':dependencies', ':processed', ':failed', ':unsuccessful'}
for _, part in ipairs(parts) do
  if redis.call('EXISTS', KEYS[1] .. part) == 1 then return {-3, KEYS[1] .. part} end
end
redis.call('ZADD', KEYS[2], score, ARGV[1])
redis.call('ZREM', KEYS[3], ARGV[1])
for _, part in ipairs(parts) do
  if redis.call('EXISTS', KEYS[4] .. part) == 1 then redis.call('RENAME', KEYS[4] .. part, KEYS[1] .. part) end
end
redis.call('HDEL', KEYS[5], ARGV[3])
redis.call('HDEL', KEYS[6], ARGV[3])
return {1, ''}
