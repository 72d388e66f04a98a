-- Renews the leases of deliveries that still run.
-- KEYS: 1 queue, 2 in-progress prefix; ARGV: 1 owner token, 2 lease in ms, 3 a JSON array of arq ids
-- Returns how many of them this owner still has.
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local lease = tonumber(ARGV[2])
local renewed = 0
for _, id in ipairs(cjson.decode(ARGV[3])) do
  local key = KEYS[2] .. id
  if redis.call('GET', key) == ARGV[1] then
    redis.call('PEXPIRE', key, lease)
    redis.call('ZADD', KEYS[1], 'XX', now + lease, id)
    renewed = renewed + 1
  end
end
return renewed
