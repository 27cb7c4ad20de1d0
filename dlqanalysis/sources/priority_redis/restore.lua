-- Brings an entry back from quarantine or archive to its list, and its copy if it would still be there.
--
-- KEYS  5 quarantine  6 its notes  7 archive  8 its notes
-- ARGV  5 the run that set it aside; empty: any
for n = 5, 8 do
  if not is(KEYS[n], 'hash') then return {-3, KEYS[n]} end
end
for n = 5, 7, 2 do
  local raw = redis.call('HGET', KEYS[n], ARGV[1])
  if raw then
    local noted = redis.call('HGET', KEYS[n + 1], ARGV[1]) or ''
    local run = string.match(noted, '^%d+:[^|]*|(.*)|%d+$') or '(unknown)'
    if ARGV[5] ~= '' and run ~= ARGV[5] then return {-9, run} end
    local expiry = string.match(noted, '^(%d+):') or '0'
    give(raw, expiry)
    redis.call('HDEL', KEYS[n], ARGV[1])
    redis.call('HDEL', KEYS[n + 1], ARGV[1])
    return {1, KEYS[1]}
  end
end
return {0, ''}
