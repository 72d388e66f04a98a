-- Grants one request against a sliding log, or says how long to wait.
-- KEYS: 1 log; ARGV: 1 limit, 2 how long an unanswered request counts (ms), 3 id of the request,
-- 4 window with its guard (ms), 5 the reservation that a claim made for it, or ''
-- A member's score is the moment at which it stops counting. An unanswered request counts as not
-- yet arrived: it may reach the provider at any moment until its answer is seen.
-- Returns 0 (granted) or the wait in ms.
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local limit = tonumber(ARGV[1])
local horizon = tonumber(ARGV[2])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
if ARGV[5] ~= '' then
  redis.call('ZREM', KEYS[1], ARGV[5])
end
local taken = redis.call('ZCARD', KEYS[1])
if taken >= limit then
  local first = redis.call('ZRANGE', KEYS[1], taken - limit, taken - limit, 'WITHSCORES')
  -- An unanswered request may be answered now, and then counts for one window more, no longer.
  return math.min(math.max(tonumber(first[2]) - now, 1), tonumber(ARGV[4]))
end
redis.call('ZADD', KEYS[1], now + horizon, ARGV[3])
redis.call('PEXPIRE', KEYS[1], horizon + 1000)
return 0
