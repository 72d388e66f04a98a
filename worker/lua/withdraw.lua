-- Removes deliveries of paused jobs, so that no claim finds them. A running delivery stays: its run
-- decides what becomes of it.
-- KEYS: 1 queue, then for each delivery: its lease, its payload and its count of retries
-- ARGV: 1 a JSON array of arq ids
-- Returns how many were removed.
local removed = 0
for i, id in ipairs(cjson.decode(ARGV[1])) do
  local lease = 3 * i - 1
  if redis.call('EXISTS', KEYS[lease]) == 0 and redis.call('ZREM', KEYS[1], id) == 1 then
    redis.call('DEL', KEYS[lease + 1], KEYS[lease + 2])
    removed = removed + 1
  end
end
return removed
