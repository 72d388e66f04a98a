-- Notes that granted requests have been answered, so they have certainly arrived by now.
-- KEYS: the logs; ARGV: 1 window with its guard (ms), then for each log the id of its request.
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local window = tonumber(ARGV[1])
for i, log in ipairs(KEYS) do
  redis.call('ZADD', log, 'XX', now + window, ARGV[1 + i])
  -- A late answer counts beyond the life that its grant gave the log.
  redis.call('PEXPIRE', log, window + 1000, 'GT')
end
return #KEYS
