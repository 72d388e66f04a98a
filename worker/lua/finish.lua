-- Ends runs of deliveries, each only if its lease is still that of this owner.
-- KEYS: 1 queue, then the throttle logs in which a claim may have reserved, if any, then for each run: its
-- lease, its payload, its count of retries and its rerun key
-- ARGV: 1 owner token, 2 the number of throttle logs, 3 a JSON array: for each run its arq id, and 'finish'
-- or the delay in ms until it is due again.
-- Returns for each run 1, or 0 where the lease had lapsed and another worker has the delivery.
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local ended = {}
local logs = tonumber(ARGV[2])
local items = cjson.decode(ARGV[3])
for i = 1, #items, 2 do
  local id, outcome = items[i], items[i + 1]
  local first = logs + 2 * i
  local lease, rerun = KEYS[first], KEYS[first + 3]
  if redis.call('GET', lease) ~= ARGV[1] then
    ended[#ended + 1] = 0
  else
    -- A delivery that was made due during its run is run again at once. One that was delivered
    -- again during its run is run once more, even where it would have ended.
    local hastened = redis.call('GET', rerun)
    if hastened then redis.call('DEL', rerun) end
    for log = 2, logs + 1 do
      redis.call('ZREM', KEYS[log], 'reserved:' .. id)
    end
    if outcome == 'finish' and hastened ~= 'again' then
      redis.call('ZREM', KEYS[1], id)
      redis.call('DEL', lease, KEYS[first + 1], KEYS[first + 2])
    else
      redis.call('DEL', lease)
      redis.call('ZADD', KEYS[1], 'XX', now + (hastened and 0 or tonumber(outcome)), id)
    end
    ended[#ended + 1] = 1
  end
end
return ended
