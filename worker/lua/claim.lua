-- Claims a batch of due deliveries of one arq queue in one round trip.
-- KEYS: 1 queue, 2 throttle log or '', 3 brake hash or ''
-- ARGV: 1 most to claim, 2 lease in ms, 3 owner token, 4 in-progress prefix, 5 throttle limit,
-- 6 hasten prefix, 7 how long a claimed slot is kept for its request (ms)
-- Returns {brake level, ms until the next one is due or -1, then for each claimed one: id, its new
-- score, and the score at which it had been due}; scores are ms by this server's clock.
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local room = tonumber(ARGV[1])
local lease = tonumber(ARGV[2])
local level = 0

if KEYS[3] ~= '' then
  local brake = redis.call('HMGET', KEYS[3], 'until', 'level')
  level = tonumber(brake[2]) or 0
  local until_ms = tonumber(brake[1]) or 0
  if until_ms > now then
    return {level, until_ms - now}
  end
  -- After a brake, one job feels the way before the rest follow.
  if level > 0 then room = math.min(room, 1) end
end

if KEYS[2] ~= '' then
  local limit = tonumber(ARGV[5])
  local taken = redis.call('ZCOUNT', KEYS[2], '(' .. now, '+inf')
  if taken >= limit then
    local first = redis.call('ZRANGEBYSCORE', KEYS[2], '(' .. now, '+inf', 'WITHSCORES', 'LIMIT', taken - limit, 1)
    -- A slot whose POST is still unanswered may come free sooner than its score says.
    return {level, math.min(tonumber(first[2]) - now, 500)}
  end
  room = math.min(room, limit - taken)
end

local reply = {level, -1}
local due = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'WITHSCORES', 'LIMIT', 0, room)
for i = 1, #due, 2 do
  local id = due[i]
  local claimed = redis.call('SET', ARGV[4] .. id, ARGV[3], 'NX', 'PX', lease)
  if claimed then
    -- Out of the window while it runs; due again by itself if its owner dies.
    local score = now + lease
    redis.call('ZADD', KEYS[1], 'XX', score, id)
    redis.call('DEL', ARGV[6] .. id)
    if KEYS[2] ~= '' then
      -- Counted from now on, so that nobody claims for a slot that is as good as taken.
      redis.call('ZADD', KEYS[2], now + tonumber(ARGV[7]), 'reserved:' .. id)
      if redis.call('PTTL', KEYS[2]) < 60000 then redis.call('PEXPIRE', KEYS[2], 60000) end
    end
    reply[#reply + 1] = id
    reply[#reply + 1] = score
    reply[#reply + 1] = math.floor(tonumber(due[i + 1]))
  else
    local left = redis.call('PTTL', ARGV[4] .. id)
    redis.call('ZADD', KEYS[1], 'XX', now + math.max(left, 50), id)
  end
end
local next_one = redis.call('ZRANGE', KEYS[1], 0, 0, 'WITHSCORES')
if next_one[2] then
  reply[2] = math.max(tonumber(next_one[2]) - now, 0)
end
return reply
