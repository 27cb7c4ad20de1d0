-- What a failed job is asked before it is put back or taken out: goes in front of replay.lua and remove.lua.
--
-- KEYS  1 job  2 failed
-- ARGV  1 job id  2 score  5 seal of what was read
local job, failed, id = KEYS[1], KEYS[2], ARGV[1]
if known ~= '' and not did('undo', '') and not did('restore', '') then return {2, known} end
if not is(failed, 'zset') then return {-3, failed} end
local score = redis.call('ZSCORE', failed, id)
if not score then return {0, tostring(redis.call('EXISTS', job))} end
if score ~= ARGV[2] then return {-2, score} end
if not is(job, 'hash') then return {-3, job} end
local missing = redis.call('EXISTS', job) == 0
if redis.call('EXISTS', job .. ':lock') == 1 then return {-5, ''} end
if ARGV[5] ~= seal(job) then return {-4, ''} end
local base = failed:sub(1, #failed - 6)
local children, unsuccessful = job .. ':dependencies', job .. ':unsuccessful'
if not is(children, 'set') then return {-3, children} end
if not is(unsuccessful, 'zset') then return {-3, unsuccessful} end
local parent = (not missing) and redis.call('HGET', job, 'parentKey') or ''
if parent ~= '' and redis.call('EXISTS', parent) == 0 then parent = '' end
if parent ~= '' then
  if not is(parent .. ':dependencies', 'set') then return {-3, parent .. ':dependencies'} end
  if not is(parent .. ':unsuccessful', 'zset') then return {-3, parent .. ':unsuccessful'} end
  if not is(parent .. ':failed', 'hash') then return {-3, parent .. ':failed'} end
end
-- an id that somebody pushed by hand stands in `failed` and elsewhere: whoever takes it there, it must not
-- run a second time, and must not be taken away under a worker's hands
for place, kind in pairs({active = 'list', wait = 'list', paused = 'list', prioritized = 'zset', delayed = 'zset',
    completed = 'zset', ['waiting-children'] = 'zset'}) do
  local key = base .. place
  if not is(key, kind) then return {-3, key} end
  local at
  if kind == 'zset' then
    at = redis.call('ZSCORE', key, id)
  else
    at = redis.pcall('LPOS', key, id, 'MAXLEN', 10000) -- Redis before 6.0.6 does not have it
    if type(at) == 'table' then at = nil end
  end
  if at then return {-8, place} end
end
