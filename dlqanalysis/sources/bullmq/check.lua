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
local names = {'name', 'data', 'opts', 'priority', 'parentKey', -- sealed; the others are what a replay takes out
  'finishedOn', 'processedOn', 'failedReason', 'attemptsMade', 'atm', 'ats'}
local have = redis.pcall('HMGET', job, unpack(names))
if have.err then return have.err:find('WRONGTYPE', 1, true) and {-3, job} or have end
local missing = not have[1] and redis.call('EXISTS', job) == 0
if redis.call('EXISTS', job .. ':lock') == 1 then return {-5, ''} end
if ARGV[5] ~= sealed(have) then return {-4, ''} end
local base = failed:sub(1, #failed - 6)
local children, unsuccessful = job .. ':dependencies', job .. ':unsuccessful'
local below = redis.call('EXISTS', children, unsuccessful) > 0
if below and not is(children, 'set') then return {-3, children} end
if below and not is(unsuccessful, 'zset') then return {-3, unsuccessful} end
local parent = have[5] or ''
if parent ~= '' and redis.call('EXISTS', parent) == 0 then parent = '' end
if parent ~= '' then
  if not is(parent .. ':dependencies', 'set') then return {-3, parent .. ':dependencies'} end
  if not is(parent .. ':unsuccessful', 'zset') then return {-3, parent .. ':unsuccessful'} end
  if not is(parent .. ':failed', 'hash') then return {-3, parent .. ':failed'} end
end
-- an id that somebody pushed by hand stands in `failed` and elsewhere: whoever takes it there, it must not
-- run a second time, and must not be taken away under a worker's hands
local places = shared[base]
if not places then
  places = {}
  for place, kind in pairs({active = 'list', wait = 'list', paused = 'list', prioritized = 'zset', delayed = 'zset',
      completed = 'zset', ['waiting-children'] = 'zset'}) do
    local key = base .. place
    if not is(key, kind) then return {-3, key} end
    places[place] = {key, kind}
  end
  shared[base] = places
end
for place, of in pairs(places) do
  local key, at = of[1]
  if of[2] == 'zset' then
    at = redis.call('ZSCORE', key, id)
  else
    at = stands(key, id)
  end
  if at then return {-8, place} end
end
