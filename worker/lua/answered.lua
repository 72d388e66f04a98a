-- Notes that a granted request has been answered, so it has certainly arrived by now.
-- KEYS: 1 log; ARGV: 1 window with its guard (ms), 2 id of the request
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
redis.call('ZADD', KEYS[1], 'XX', now + tonumber(ARGV[1]), ARGV[2])
return 1
