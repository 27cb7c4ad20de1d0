-- What taking back asks before it writes: goes in front of restore.lua and undo.lua.
--
-- KEYS  1 the list  2 ledger of this month  3 ledger of the last month  4 dlq:task:{id}
-- ARGV  1 field of the ledger  2 field that notes a taking back  3 token  4 seconds that the ledger lives
-- Gives {code, what is known}: 1 done now   2 done before (the token)   0 nothing to take back
--   -3 a key of another type   -5 its task is not where the replay put it (its state)
--   -9 another run set it aside (which)
local function is(key, kind)
  local have = redis.call('TYPE', key).ok
  return have == 'none' or have == kind
end
for n, kind in ipairs({'list', 'hash', 'hash', 'string'}) do
  if not is(KEYS[n], kind) then return {-3, KEYS[n]} end
end
for n = 2, 3 do
  local before = redis.call('HGET', KEYS[n], ARGV[2])
  if before and string.match(before, '^[^|]*|[^|]*|') == string.match(ARGV[3], '^[^|]*|[^|]*|') then
    return {2, before}
  end
end
local function give(raw, expiry)
  redis.call('HSET', KEYS[2], ARGV[2], ARGV[3])
  redis.call('EXPIRE', KEYS[2], ARGV[4])
  redis.call('RPUSH', KEYS[1], raw) -- the oldest end
  redis.call('HDEL', KEYS[2], ARGV[1])
  redis.call('HDEL', KEYS[3], ARGV[1])
  local now = redis.call('TIME')
  if tonumber(expiry) > now[1] * 1000 and redis.call('EXISTS', KEYS[4]) == 0 then
    redis.call('SET', KEYS[4], raw)
    redis.call('PEXPIREAT', KEYS[4], expiry) -- SET knows PXAT from Redis 6.2 on only
  end
end
