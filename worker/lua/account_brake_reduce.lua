-- Lowers the level of an account's brake by one after a successful submit.
-- KEYS: 1 brake hash. Returns the level that is left.
-- During a pause nothing changes: a submit that succeeds then was sent before it and proves nothing.
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local brake = redis.call('HMGET', KEYS[1], 'until', 'level')
local level = tonumber(brake[2]) or 0
if (tonumber(brake[1]) or 0) > now then
  return level
end
if level <= 1 then
  redis.call('DEL', KEYS[1])
  return 0
end
redis.call('HSET', KEYS[1], 'level', level - 1, 'until', 0)
return level - 1
