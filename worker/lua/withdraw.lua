-- Removes deliveries of paused jobs, so that no claim finds them. A running delivery stays: its run
-- decides what becomes of it.
-- KEYS: 1 queue; ARGV: 1 in-progress prefix, 2 job prefix, 3 retry prefix, 4 a JSON array of arq ids
-- Returns how many were removed.
local removed = 0
for _, id in ipairs(cjson.decode(ARGV[4])) do
  if redis.call('EXISTS', ARGV[1] .. id) == 0 and redis.call('ZREM', KEYS[1], id) == 1 then
    redis.call('DEL', ARGV[2] .. id, ARGV[3] .. id)
    removed = removed + 1
  end
end
return removed
