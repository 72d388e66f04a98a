-- Acquires permits for requests against sliding logs. Each log is counted by itself.
-- KEYS: the logs
-- ARGV: 1 limit, 2 how long an unanswered request counts (ms), 3 window with its margin (ms), 4 a
-- JSON array: for each request the number of its log, its id, and the reservation that a claim made for it or ''.
-- The score of a member is the time at which it stops counting. A request without an answer counts
-- as not arrived: it may reach the provider at any time until its answer comes.
-- Returns for each request 0 (permitted) or the wait in ms.
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local limit = tonumber(ARGV[1])
local horizon = tonumber(ARGV[2])
local window = tonumber(ARGV[3])
local items = cjson.decode(ARGV[4])
local waits = {}
for i = 1, #items, 3 do
  local log, id, reservation = KEYS[items[i]], items[i + 1], items[i + 2]
  redis.call('ZREMRANGEBYSCORE', log, '-inf', now)
  if reservation ~= '' then
    redis.call('ZREM', log, reservation)
  end
  local taken = redis.call('ZCARD', log)
  if taken >= limit then
    local first = redis.call('ZRANGE', log, taken - limit, taken - limit, 'WITHSCORES')
    -- A request without an answer may be answered now. It then counts for one window more, and no
    -- longer.
    waits[#waits + 1] = math.min(math.max(tonumber(first[2]) - now, 1), window)
  else
    redis.call('ZADD', log, now + horizon, id)
    redis.call('PEXPIRE', log, horizon + 1000)
    waits[#waits + 1] = 0
  end
end
return waits
