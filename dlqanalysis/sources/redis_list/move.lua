-- Moves elements of one list to another, or removes them, each at most once. All of it happens, or nothing.
--
-- KEYS  1 source  2 target (the source again where nothing goes anywhere)  3 ledger of this month
--       4 ledger of the last  5 hash of what lies in quarantine  6 hash of the bytes that repairs replaced
-- ARGV  1 LPUSH, RPUSH, or NONE  2 seconds that the ledger is kept  3 a word that no element is
--       4 1 when the head is the source's oldest end; then nine an element:
--       field, note, place, bytes, bytes that go instead, field it needs, what that must say,
--       field that is freed, field for the quarantine's hash
-- Gives one {code, told} an element: {1} done; {2, note} it was done before; {0} it does not lie there;
-- {-2} what it needs is not so. {{-3, key}} alone: a key is of another type. Without a place, the oldest
-- element with these bytes is taken: for one element a call only.
local function is(key, kind)
  local found = redis.call('TYPE', key).ok
  return found == kind or found == 'none'
end
for n, kind in ipairs({'list', 'list', 'hash', 'hash', 'hash', 'hash'}) do
  if not is(KEYS[n], kind) then return {{-3, KEYS[n]}} end
end
local function noted(field)
  return redis.call('HGET', KEYS[3], field) or redis.call('HGET', KEYS[4], field)
end
local push, oldest, graves, found = ARGV[1], ARGV[4] == '1' and 1 or -1, 0, {}
for n = 5, #ARGV, 9 do
  local field, note, place, bytes, instead = ARGV[n], ARGV[n + 1], ARGV[n + 2], ARGV[n + 3], ARGV[n + 4]
  local needs, says, frees, aside = ARGV[n + 5], ARGV[n + 6], ARGV[n + 7], ARGV[n + 8]
  local done = noted(field)
  local there = not done and place ~= '' and redis.call('LINDEX', KEYS[1], place) == bytes
  if done then
    found[#found + 1] = {2, done}
  elseif needs ~= '' and (noted(needs) or redis.call('HGET', KEYS[5], needs) or '') ~= says then
    found[#found + 1] = {-2, ''}
  elseif place == '' and redis.call('LREM', KEYS[1], oldest, bytes) == 0 or place ~= '' and not there then
    found[#found + 1] = {0, ''}
  else
    if there then -- taken out below, all in one go; until then every other place stays as it is
      redis.call('LSET', KEYS[1], place, ARGV[3])
      graves = graves + 1
    end
    if push ~= 'NONE' then redis.call(push, KEYS[2], instead ~= '' and instead or bytes) end
    redis.call('HSET', KEYS[3], field, note)
    if frees ~= '' then
      redis.call('HDEL', KEYS[3], frees)
      redis.call('HDEL', KEYS[4], frees)
      redis.call('HDEL', KEYS[6], frees)
      redis.call('HDEL', KEYS[5], aside)
    else
      if aside ~= '' then redis.call('HSET', KEYS[5], aside, note) end
      if instead ~= '' then
        redis.call('HSET', KEYS[6], field, bytes)
        redis.call('EXPIRE', KEYS[6], ARGV[2])
      end
    end
    found[#found + 1] = {1, ''}
  end
end
if graves > 0 then redis.call('LREM', KEYS[1], oldest * graves, ARGV[3]) end
if redis.call('EXISTS', KEYS[3]) == 1 then redis.call('EXPIRE', KEYS[3], ARGV[2]) end
return found
