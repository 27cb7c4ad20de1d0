-- Pauses or unpauses a queue so that workers of BullMQ 5 and 6 agree, whoever ends it.
--
-- While paused, all that waits lies in `paused`: 5 renames that list back, over a `wait` that it does not look
-- at; 6 takes both. Two lists are brought together here in one step, or 5 could come in between.
-- KEYS  1 wait  2 paused  7 prioritized  8 delayed  9 marker  10 our note that we paused
-- ARGV  1 pause, unpause  2 who; unpause: end only their pause, or (empty) anybody's
for n, kind in pairs({[1] = 'list', [2] = 'list', [7] = 'zset', [8] = 'zset', [9] = 'zset', [10] = 'string'}) do
  if not is(KEYS[n], kind) then return {-3, KEYS[n]} end
end
local base = KEYS[5]:sub(1, #KEYS[5] - 4)
local there = redis.call('EXISTS', KEYS[1], KEYS[2], KEYS[5], KEYS[7], KEYS[8],
  base .. 'active', base .. 'failed', base .. 'completed', base .. 'id')
if there == 0 then return {-11, ''} end

local function chunks(list, from_the_right)
  -- unpack takes some thousand at a time
  local length, found = redis.call('LLEN', list), {}
  for start = 0, length - 1, 5000 do
    local part = redis.call('LRANGE', list, start, start + 4999)
    if from_the_right then
      local turned = {}
      for n = #part, 1, -1 do turned[#turned + 1] = part[n] end
      table.insert(found, 1, turned)
    else
      found[#found + 1] = part
    end
  end
  return found
end
local function merge(old, new, to)
  -- both lists in one, under the name of `to`; workers take from the right end, so that `old` goes there.
  -- The shorter one is moved: what this costs Redis is what that has.
  if redis.call('LLEN', old) <= redis.call('LLEN', new) then
    for _, part in ipairs(chunks(old, false)) do redis.call('RPUSH', new, unpack(part)) end
    redis.call('UNLINK', old)
    if new ~= to and redis.call('EXISTS', new) == 1 then redis.call('RENAME', new, to) end
  else
    for _, part in ipairs(chunks(new, true)) do redis.call('LPUSH', old, unpack(part)) end
    redis.call('UNLINK', new)
    if old ~= to then redis.call('RENAME', old, to) end
  end
end
local paused = redis.call('HEXISTS', KEYS[5], 'paused') == 1
if ARGV[1] == 'pause' then
  if paused then return {0, redis.call('GET', KEYS[10]) or ''} end
  note()
  redis.call('SET', KEYS[10], ARGV[2])
  redis.call('HSET', KEYS[5], 'paused', 1)
  redis.call('DEL', KEYS[9])
  merge(KEYS[1], KEYS[2], KEYS[2])
  tell('event', 'paused')
  return {1, ''}
end
local who = redis.call('GET', KEYS[10]) or ''
if ARGV[2] ~= '' and who ~= ARGV[2] then return {0, who} end
if not paused and redis.call('EXISTS', KEYS[2]) == 0 then
  redis.call('DEL', KEYS[10])
  return {0, ''}
end
redis.call('HDEL', KEYS[5], 'paused') -- before the note: a queue goes on even when memory is full
note()
merge(KEYS[2], KEYS[1], KEYS[1])
redis.call('DEL', KEYS[10])
if redis.call('LLEN', KEYS[1]) > 0 or redis.call('ZCARD', KEYS[7]) > 0 then
  redis.call('ZADD', KEYS[9], 0, '0')
else
  local first = redis.call('ZRANGE', KEYS[8], 0, 0, 'WITHSCORES')
  if first[2] then redis.call('ZADD', KEYS[9], first[2] / 0x1000, '1') end
end
if paused then tell('event', 'resumed') end
return {1, ''}
