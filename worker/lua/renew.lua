-- Renews the leases of deliveries that still run.
-- KEYS: 1 queue, then the lease of each delivery
-- ARGV: 1 owner token, 2 lease in ms, 3 a JSON array of arq ids, in the order of their leases
-- Returns how many of them this owner still has.
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local lease = tonumber(ARGV[2])
local renewed = 0
for i, id in ipairs(cjson.decode(ARGV[3])) do
  local key = KEYS[i + 1]
  if redis.call('GET', key) == ARGV[1] then
    redis.call('PEXPIRE', key, lease)
    redis.call('ZADD', KEYS[1], 'XX', now + lease, id)
    renewed = renewed + 1
  end
end
return renewed
