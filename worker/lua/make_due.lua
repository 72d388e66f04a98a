-- Makes deliveries due that wait for longer, in the order of their due times, and wakes their lane. A
-- running delivery runs once more.
-- KEYS: 1 queue
-- ARGV: 1 in-progress prefix, 2 rerun prefix, 3 TTL of rerun keys (ms), 4 wake-up channel, 5 a JSON
-- array: for each delivery its arq id, and for how long it has been due (ms)
-- Returns how many are due sooner than before.
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local hastened = 0
local items = cjson.decode(ARGV[5])
for i = 1, #items, 2 do
  local id = items[i]
  if redis.call('EXISTS', ARGV[1] .. id) == 1 then
    redis.call('SET', ARGV[2] .. id, '1', 'PX', ARGV[3])
  else
    hastened = hastened + redis.call('ZADD', KEYS[1], 'XX', 'LT', 'CH', now - tonumber(items[i + 1]), id)
  end
end
if hastened > 0 then redis.call('PUBLISH', ARGV[4], KEYS[1]) end
return hastened
