-- Takes an entry out: aside, from where restore.lua brings it back as it was, or away for good.
--
-- KEYS  5 the place aside  6 its notes
-- ARGV  6 '1': aside, empty: away
for n = 5, 6 do
  if not is(KEYS[n], 'hash') then return {-3, KEYS[n]} end
end
if ARGV[6] ~= '' and redis.call('HEXISTS', KEYS[5], ARGV[2]) == 1 then return {-3, KEYS[5]} end

if not take() then return {0, ''} end
if ARGV[6] ~= '' then
  redis.call('HSET', KEYS[5], ARGV[2], ARGV[1])
  redis.call('HSET', KEYS[6], ARGV[2], expiry .. ':' .. ARGV[3])
end
return {1, ARGV[6] ~= '' and KEYS[5] or ''}
