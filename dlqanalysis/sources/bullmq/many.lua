-- Around a script: does for many items, one after the other, what the script does for one. An item whose script
-- fails is left alone; the others go on.
--
-- KEYS  the keys of the first item, of the second, ...
-- ARGV  1 keys of an item  2 arguments of an item  and the arguments of the first item, of the second, ...
local keys, arguments = tonumber(ARGV[1]), tonumber(ARGV[2])
local items = #KEYS / keys
local lists, kinds, shared = {}, {}, {} -- what is known by now of keys that all items have
local function is(key, kind)
  if kinds[key] ~= kind then -- only what may stay is remembered: nobody else writes while this runs
    local have = redis.call('TYPE', key).ok
    if have ~= 'none' and have ~= kind then return false end
    kinds[key] = kind
  end
  return true
end
local function stands(list, id)
  -- a list is read once for all, as LPOS would walk through it for each; the newest ten thousand of it
  if items < 8 then
    local at = redis.pcall('LPOS', list, id, 'MAXLEN', 10000) -- Redis before 6.0.6 does not have it
    return type(at) ~= 'table' and at
  end
  if not lists[list] then
    lists[list] = {}
    for _, one in ipairs(redis.call('LRANGE', list, 0, 9999)) do lists[list][one] = true end
  end
  return lists[list][id]
end
local function one(KEYS, ARGV)
