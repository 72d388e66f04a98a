-- Starts or lengthens the pause of the submits of one Kie account.
-- KEYS: 1 brake hash; ARGV: 1 first pause in ms, 2 longest pause in ms, 3 reason, 4 message
-- During a pause nothing changes, so that many refusals at the same time raise the level once.
-- Returns {level, pause in ms, 1 where the reason is new}; the level is negative where nothing changed.
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local brake = redis.call('HMGET', KEYS[1], 'until', 'level', 'reason')
local until_ms = tonumber(brake[1]) or 0
local level = tonumber(brake[2]) or 0
if until_ms > now then
  return {-level, until_ms - now, 0}
end
level = math.min(level + 1, 20)
local pause = math.min(tonumber(ARGV[1]) * 2 ^ (level - 1), tonumber(ARGV[2]))
if level == 1 then
  redis.call('HSET', KEYS[1], 'since', now)
end
redis.call('HSET', KEYS[1], 'until', now + pause, 'level', level, 'reason', ARGV[3], 'message', ARGV[4])
redis.call('PEXPIRE', KEYS[1], pause + 600000)
return {level, pause, brake[3] == ARGV[3] and 0 or 1}
