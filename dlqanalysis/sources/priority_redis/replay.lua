-- Puts a dead-lettered task back into the list of its own priority, and keeps its entry for an undo.
--
-- KEYS  5 task:{id}  6 tasks:{priority}  7 tasks:retry  8 what this run took
-- ARGV  6 task id  7 attempts anew (empty: as they are)  8 payload instead (empty: its own)
--       9 seconds that task:{id} lives  10 seconds that what this run took is kept
--       11.. field, value of task:{id}, for what it does not have any more
local task, queue, waiting, taken = KEYS[5], KEYS[6], KEYS[7], KEYS[8]
for n, kind in ipairs({'hash', 'list', 'zset', 'hash'}) do
  if not is(KEYS[n + 4], kind) then return {-3, KEYS[n + 4]} end
end
local state = string.lower(redis.call('HGET', task, 'status') or '')
for _, word in ipairs({'pending', 'queued', 'processing', 'running', 'retrying'}) do
  if state == word then return {-5, state} end
end
for _, word in ipairs({'completed', 'success', 'succeeded', 'done'}) do
  if state == word then return {-6, state} end
end
if redis.call('LPOS', queue, ARGV[6]) then return {-5, 'queued'} end
if redis.call('ZSCORE', waiting, ARGV[6]) then return {-5, 'retrying'} end

if not take() then return {0, ''} end
redis.call('HSET', taken, ARGV[2], expiry .. ':' .. ARGV[1])
redis.call('EXPIRE', taken, ARGV[10])
for n = 11, #ARGV, 2 do redis.call('HSETNX', task, ARGV[n], ARGV[n + 1]) end
redis.call('HSET', task, 'status', 'pending')
if ARGV[7] ~= '' then redis.call('HSET', task, 'attempts', ARGV[7]) end
if ARGV[8] ~= '' then redis.call('HSET', task, 'payload', ARGV[8]) end
local left = redis.call('TTL', task)
if left < tonumber(ARGV[9]) then redis.call('EXPIRE', task, ARGV[9]) end
redis.call('LPUSH', queue, ARGV[6])
return {1, queue}
