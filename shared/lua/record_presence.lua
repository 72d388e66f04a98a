-- Records the presence of a process in this Redis, removes expired presences, and returns all.
-- Times are Redis's.
-- KEYS: 1 a sorted set of presences: members are "<since> <text>", scores the times of the last write
-- ARGV: 1 the text of this process, 2 the time of its first write (ms), or '' at the first write, 3 the
-- TTL of a presence (ms)
-- Returns the time of the first write, and a list of members and scores.
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local since = ARGV[2]
if since == '' then since = string.format('%d', now) end
redis.call('ZADD', KEYS[1], now, since .. ' ' .. ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', '(' .. string.format('%d', now - ARGV[3]))
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return {since, redis.call('ZRANGE', KEYS[1], 0, -1, 'WITHSCORES')}
