-- Ends a run of a delivery, if the lease is still ours.
-- KEYS: 1 queue, 2 in-progress key, 3 job key, 4 retry key, 5 hasten key, 6 throttle log or ''
-- ARGV: 1 owner token, 2 arq id, 3 'finish' or the delay in ms until it is due again
-- Returns 1, or 0 where the lease had lapsed and somebody else has the delivery.
if redis.call('GET', KEYS[2]) ~= ARGV[1] then
  return 0
end
redis.call('DEL', KEYS[2])
if KEYS[6] ~= '' then
  redis.call('ZREM', KEYS[6], 'reserved:' .. ARGV[2])
end
-- Whoever hastened it while it ran asks for one more run, now.
local hastened = redis.call('DEL', KEYS[5]) == 1
if ARGV[3] == 'finish' then
  redis.call('ZREM', KEYS[1], ARGV[2])
  redis.call('DEL', KEYS[3], KEYS[4])
else
  local clock = redis.call('TIME')
  local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
  local delay = hastened and 0 or tonumber(ARGV[3])
  redis.call('ZADD', KEYS[1], 'XX', now + delay, ARGV[2])
end
return 1
