-- Marks a process as alive in this Redis, drops the marks of those that are not, and returns all
-- marks. Redis's own clock decides.
-- KEYS: 1 the marks, a sorted set: each mark is "<since> <text>", its score when it was last written
-- ARGV: 1 the text of this process, 2 since when it marks itself here (ms), or '' the first time,
-- 3 how long a mark lasts (ms)
-- Returns since, and a list of each mark and its score.
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local since = ARGV[2]
if since == '' then since = string.format('%d', now) end
redis.call('ZADD', KEYS[1], now, since .. ' ' .. ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', '(' .. string.format('%d', now - ARGV[3]))
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return {since, redis.call('ZRANGE', KEYS[1], 0, -1, 'WITHSCORES')}
