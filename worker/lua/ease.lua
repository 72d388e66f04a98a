-- Takes one step of the brake back after a submit that went well.
-- KEYS: 1 brake hash. Returns the level that is left.
local level = tonumber(redis.call('HGET', KEYS[1], 'level')) or 0
if level <= 1 then
  redis.call('DEL', KEYS[1])
  return 0
end
redis.call('HSET', KEYS[1], 'level', level - 1, 'until', 0)
return level - 1
