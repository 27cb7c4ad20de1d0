-- Takes a replay back whose task nobody has taken yet: still in the list that it was put into, still pending.
--
-- KEYS  5 task:{id}  6 tasks:{priority}  7 what that run took
-- ARGV  5 task id  6 attempts that it had (empty: unknown)  7 payload that it had (empty: unknown)
for n, kind in ipairs({'hash', 'list', 'hash'}) do
  if not is(KEYS[n + 4], kind) then return {-3, KEYS[n + 4]} end
end
local held = redis.call('HGET', KEYS[7], ARGV[1])
if not held then return {0, ''} end
local state = redis.call('HGET', KEYS[5], 'status') or 'gone'
if state ~= 'pending' then return {-5, state} end
if not redis.call('LPOS', KEYS[6], ARGV[5]) then return {-5, 'taken by a worker'} end
local expiry, raw = string.match(held, '^(%d+):(.*)$')

give(raw, expiry)
redis.call('LREM', KEYS[6], -1, ARGV[5])
redis.call('HSET', KEYS[5], 'status', 'dead_lettered')
if ARGV[6] ~= '' then redis.call('HSET', KEYS[5], 'attempts', ARGV[6]) end
if ARGV[7] ~= '' then redis.call('HSET', KEYS[5], 'payload', ARGV[7]) end
redis.call('HDEL', KEYS[7], ARGV[1])
return {1, KEYS[1]}
