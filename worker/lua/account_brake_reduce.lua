-- Records that Kie has accepted a submit of an account: lowers the level of its brake by one, and ends
-- the state in which one submit at a time is sent after a refusal.
-- KEYS: 1 brake hash; ARGV: 1 how long ago the request was sent (ms)
-- Returns the level that is left, or -1 where nothing was accepted yet since the last refusal.
-- During a pause nothing changes: a submit that succeeds then was sent before it and proves nothing.
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local brake = redis.call('HMGET', KEYS[1], 'until', 'level', 'unproven', 'reduced_at')
local level = tonumber(brake[2]) or 0
if (tonumber(brake[1]) or 0) > now then
  return level
end
local is_unproven = brake[3] and true
if is_unproven and now - tonumber(ARGV[1]) > (tonumber(brake[4]) or 0) then
  redis.call('HDEL', KEYS[1], 'unproven')
  is_unproven = false
end
if level > 1 then
  redis.call('HSET', KEYS[1], 'level', level - 1, 'until', 0)
  return level - 1
end
if level == 1 then
  redis.call('HDEL', KEYS[1], 'until', 'level', 'reason', 'message', 'since')
end
return is_unproven and -1 or 0
