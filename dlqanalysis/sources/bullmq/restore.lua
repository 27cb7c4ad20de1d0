-- Brings a job back from quarantine into `failed`, with the score it had.
--
-- KEYS  1 job  2 failed  7 quarantine  8 its key in quarantine
-- ARGV  1 job id  2 score  7 the run that set it aside; empty: any
local job, failed, id = KEYS[1], KEYS[2], ARGV[1]
if not is(KEYS[7], 'zset') then return {-3, KEYS[7]} end
local score = redis.call('ZSCORE', KEYS[7], id)
if not score or score ~= ARGV[2] then return {0, known} end
-- a ledger that has forgotten is no reason to keep a job aside; another run's quarantine is
if ARGV[7] ~= '' and known ~= '' and not did('quarantine', ARGV[7]) then return {-9, known} end
if not is(failed, 'zset') or redis.call('ZSCORE', failed, id) then return {-3, failed} end
local parts = {'', ':logs', ':dependencies', ':processed', ':failed', ':unsuccessful'}
for _, part in ipairs(parts) do
  if redis.call('EXISTS', job .. part) == 1 then return {-3, job .. part} end
end

note()
redis.call('ZADD', failed, score, id)
for _, part in ipairs(parts) do
  if redis.call('EXISTS', KEYS[8] .. part) == 1 then redis.call('RENAME', KEYS[8] .. part, job .. part) end
end
redis.call('ZREM', KEYS[7], id)
return {1, ''}
