-- Takes back a replay while nobody has taken the job: out of the line, into `failed`, as it was.
--
-- KEYS  1 job  2 failed  7 wait  8 paused  9 prioritized  10 what the replay kept
-- ARGV  1 job id  2 score  7 the run that replayed it; empty: any
local job, failed, id = KEYS[1], KEYS[2], ARGV[1]
if not did('replay', ARGV[7]) then return {-9, known} end
for n, kind in pairs({[1] = 'hash', [2] = 'zset', [7] = 'list', [8] = 'list', [9] = 'zset', [10] = 'string'}) do
  if not is(KEYS[n], kind) then return {-3, KEYS[n]} end
end
local score = redis.call('ZSCORE', failed, id)
if score then return {-2, score} end
if redis.call('EXISTS', job) == 0 then return {-1, ''} end
if redis.call('EXISTS', job .. ':lock') == 1 or redis.call('HEXISTS', job, 'processedOn') == 1 then return {-5, ''} end
local kept = redis.call('GET', KEYS[10])
if not kept then return {-10, ''} end
local was = cmsgpack.unpack(kept)
if was.seal ~= seal(job) then return {-4, ''} end
local from
if redis.call('ZSCORE', KEYS[9], id) then from = KEYS[9] end
for _, list in ipairs({KEYS[7], KEYS[8]}) do
  if redis.call('LPOS', list, id) then
    if from or #redis.call('LPOS', list, id, 'COUNT', 2, 'MAXLEN', 10000) > 1 then return {-8, 'wait'} end
    from = list
  end
end
if not from then return {-5, ''} end
local parent = was.parent
if parent and not (was.unsuccessful or was.ignored) then parent = nil end
if parent and redis.call('EXISTS', parent) == 1 then
  for name, kind in pairs({dependencies = 'set', unsuccessful = 'zset', failed = 'hash'}) do
    if not is(parent .. ':' .. name, kind) then return {-3, parent .. ':' .. name} end
  end
  if not is(was.place, 'zset') then return {-3, was.place} end
  -- it stands where it stood, and waits for more than this child: nobody would wake it afterwards
  local waits = redis.call('ZSCORE', was.place, was.id) and redis.call('SISMEMBER', parent .. ':dependencies', job) == 1
  local alone = was.place:sub(-16) == 'waiting-children' and redis.call('SCARD', parent .. ':dependencies') == 1
  if not waits or alone then return {-7, parent} end
else
  parent = nil
end

note()
redis.call('ZADD', failed, ARGV[2], id)
if from == KEYS[9] then redis.call('ZREM', from, id) else redis.call('LREM', from, 1, id) end
for name, value in pairs(was.fields) do redis.call('HSET', job, name, value) end
if parent then
  redis.call('SREM', parent .. ':dependencies', job)
  if was.unsuccessful then redis.call('ZADD', parent .. ':unsuccessful', was.unsuccessful, job) end
  if was.ignored then redis.call('HSET', parent .. ':failed', job, was.ignored) end
end
redis.call('DEL', KEYS[10])
return {1, ''}
