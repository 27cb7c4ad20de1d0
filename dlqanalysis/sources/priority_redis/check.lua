-- What every action on an entry asks before it writes: goes in front of replay.lua and remove.lua.
-- Error replies after a write are not rolled back, so that all checks come before the first write.
--
-- KEYS  1 the list  2 ledger of this month  3 ledger of the last month  4 dlq:task:{id}
-- ARGV  1 the entry's bytes  2 field of the ledger  3 token: what the ledger notes  4 seconds that it lives
--       5 the bytes that dlq:task:{id} has where they are of this very failure; else empty
-- Gives {code, what is known}:
--   1 done now   2 done before (the token)   0 not in the list   -3 a key of another type or in the way
--   -5 its task is under way (its state)   -6 its task is done (its state)
local function is(key, kind)
  local have = redis.call('TYPE', key).ok
  return have == 'none' or have == kind
end
local list, ledger, copy = KEYS[1], KEYS[2], KEYS[4]
for n, kind in ipairs({'list', 'hash', 'hash', 'string'}) do
  if not is(KEYS[n], kind) then return {-3, KEYS[n]} end
end
local done = redis.call('HGET', KEYS[2], ARGV[2]) or redis.call('HGET', KEYS[3], ARGV[2])
if done then return {2, done} end
local mine = ARGV[5] ~= '' and redis.call('GET', copy) == ARGV[5]
local expiry = '0' -- when the copy would have expired, in milliseconds
if mine then
  local left, now = redis.call('PTTL', copy), redis.call('TIME')
  if left > 0 then expiry = string.format('%.0f', now[1] * 1000 + math.floor(now[2] / 1000) + left) end
end
local function take()
  -- The first write, from the oldest end; when it takes nothing out there is none. Redis refuses a script for
  -- lack of memory or disk at its first write only, so that what follows is done.
  if redis.call('LREM', list, -1, ARGV[1]) == 0 then return false end
  redis.call('HSET', ledger, ARGV[2], ARGV[3])
  redis.call('EXPIRE', ledger, ARGV[4])
  if mine then redis.call('DEL', copy) end
  return true
end
