-- Notes that a granted request has been answered, so it has certainly arrived by now.
-- KEYS: 1 log; ARGV: 1 window with its guard (ms), 2 id of the request
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local window = tonumber(ARGV[1])
redis.call('ZADD', KEYS[1], 'XX', now + window, ARGV[2])
-- A late answer counts beyond the life that its grant gave the log.
redis.call('PEXPIRE', KEYS[1], window + 1000, 'GT')
return 1
