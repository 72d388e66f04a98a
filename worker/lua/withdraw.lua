-- Removes deliveries of paused jobs, so that no claim finds them. A running delivery stays: its run
-- decides what becomes of it.
-- KEYS: 1 queue, 2 in-progress prefix, 3 job prefix, 4 retry prefix; ARGV: 1 a JSON array of arq ids
-- Returns how many were removed.
local removed = 0
for _, id in ipairs(cjson.decode(ARGV[1])) do
  if redis.call('EXISTS', KEYS[2] .. id) == 0 and redis.call('ZREM', KEYS[1], id) == 1 then
    redis.call('DEL', KEYS[3] .. id, KEYS[4] .. id)
    removed = removed + 1
  end
end
return removed
