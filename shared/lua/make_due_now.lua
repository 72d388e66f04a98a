-- Makes an existing delivery due now, wakes its lane, and tells it the arq id. A running delivery runs
-- once more.
-- KEYS: 1 queue, 2 the rerun key of the delivery, 3 wake-up channel
-- ARGV: 1 arq id, 2 TTL of the rerun key (ms), 3 the word that wakes the lane
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
redis.call('SET', KEYS[2], '1', 'PX', ARGV[2])
redis.call('ZADD', KEYS[1], 'XX', 'LT', now, ARGV[1])
return redis.call('PUBLISH', KEYS[3], ARGV[3] .. ' ' .. ARGV[1])
