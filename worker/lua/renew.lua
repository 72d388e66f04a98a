-- Renews the leases of deliveries that are still running.
-- KEYS: 1 queue; ARGV: 1 owner token, 2 lease in ms, 3 in-progress prefix, 4.. arq ids
-- Returns how many were still ours.
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local lease = tonumber(ARGV[2])
local kept = 0
for i = 4, #ARGV do
  local key = ARGV[3] .. ARGV[i]
  if redis.call('GET', key) == ARGV[1] then
    redis.call('PEXPIRE', key, lease)
    redis.call('ZADD', KEYS[1], 'XX', now + lease, ARGV[i])
    kept = kept + 1
  end
end
return kept
