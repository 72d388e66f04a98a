-- Marks permitted requests as answered, so that they have arrived for certain.
-- KEYS: the logs
-- ARGV: 1 window with its margin (ms), 2 a JSON array: for each request the number of its log, and its id.
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local window = tonumber(ARGV[1])
local items = cjson.decode(ARGV[2])
for i = 1, #items, 2 do
  local log = KEYS[items[i]]
  redis.call('ZADD', log, 'XX', now + window, items[i + 1])
  -- A late answer counts beyond the expiry that its permit gave the log.
  redis.call('PEXPIRE', log, window + 1000, 'GT')
end
return #items / 2
