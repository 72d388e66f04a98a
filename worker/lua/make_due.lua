-- Makes deliveries due that wait for longer, in the order of their due times, and wakes their lane. A
-- running delivery runs once more.
-- KEYS: 1 queue, 2 wake-up channel, then for each delivery: its lease and its rerun key
-- ARGV: 1 TTL of rerun keys (ms), 2 the word that wakes the lane, 3 a JSON array: for each delivery its
-- arq id, and for how long it has been due (ms)
-- Returns how many are due sooner than before.
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local hastened = 0
local items = cjson.decode(ARGV[3])
for i = 1, #items, 2 do
  local id = items[i]
  if redis.call('EXISTS', KEYS[i + 2]) == 1 then
    redis.call('SET', KEYS[i + 3], '1', 'PX', ARGV[1])
  else
    hastened = hastened + redis.call('ZADD', KEYS[1], 'XX', 'LT', 'CH', now - tonumber(items[i + 1]), id)
  end
end
if hastened > 0 then redis.call('PUBLISH', KEYS[2], ARGV[2]) end
return hastened
