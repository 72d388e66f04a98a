-- Records the presence of a process in this Redis, removes expired presences, and returns all.
-- Times are Redis's. A first write whose reply was lost is found by its text, and not written twice.
-- KEYS: 1 a sorted set of presences: members are "<since> <text>", scores the times of the last write
-- ARGV: 1 the text of this process, 2 the time of its first write (ms), or '' at the first write, 3 the
-- TTL of a presence (ms)
-- Returns the time of the first write, and a list of members and scores.
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local since = ARGV[2]
if since == '' then
    since = string.format('%d', now)
    for _, member in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do
        local space = string.find(member, ' ', 1, true) or 0
        if string.sub(member, space + 1) == ARGV[1] then since = string.sub(member, 1, space - 1) end
    end
end
redis.call('ZADD', KEYS[1], now, since .. ' ' .. ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', '(' .. string.format('%d', now - ARGV[3]))
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return {since, redis.call('ZRANGE', KEYS[1], 0, -1, 'WITHSCORES')}
