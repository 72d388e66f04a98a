-- Reduces the rate of submits of one Kie account, because Kie was too busy for a request: to 0.7 of it,
-- or to the half where Kie has accepted nothing since the reduction before.
-- KEYS: 1 brake hash of the account
-- ARGV: 1 submits per window (0: no limit), 2 how long ago the request was sent (ms), 3 the least to
-- assume as the limit where there is none, 4 how long the rate then stays (ms), 5 in how long it grows
-- from 1 to the limit after that (ms), 6 reason, 7 message
-- A request that was sent before the last reduction does not reduce again: one overload refuses many.
-- Returns {rate in thousandths, limit, 1 where it was reduced, 1 where it was reduced and Kie has
-- accepted nothing since the reduction before}.
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local state = redis.call('HMGET', KEYS[1], 'rate', 'rate_limit', 'rate_grows_at', 'rate_step',
  'rate_since', 'reduced_at', 'unproven', 'claims_window', 'claims', 'claims_before')
local rate, full = tonumber(state[1]), tonumber(state[2])
if rate then rate = rate + math.max(now - tonumber(state[3]), 0) * tonumber(state[4]) end
local is_slowed = rate and rate < full
local limit = tonumber(ARGV[1])
if limit > 0 then
  full = limit
elseif not is_slowed then
  -- As `claim` counts what it claims without a limit.
  local age = math.floor(now / 10000) - (tonumber(state[8]) or 0)
  local claims, before = tonumber(state[9]) or 0, tonumber(state[10]) or 0
  if age > 0 then claims, before = 0, age == 1 and claims or 0 end
  full = math.max(math.ceil(claims + before * (1 - now % 10000 / 10000)), tonumber(ARGV[3]))
end
rate = is_slowed and math.min(rate, full) or full
local is_reduced = now - tonumber(ARGV[2]) > (tonumber(state[6]) or 0)
local is_all_refused = is_reduced and state[7] and true
if is_reduced then
  rate = math.max(rate * (is_all_refused and 0.5 or 0.7), 1)
  redis.call('HSET', KEYS[1], 'reduced_at', now, 'unproven', 1)
end
local is_there = redis.call('HEXISTS', KEYS[1], 'level') == 1
redis.call('HSET', KEYS[1], 'rate', rate, 'rate_limit', full, 'rate_grows_at', now + tonumber(ARGV[4]),
  'rate_step', (full - 1) / tonumber(ARGV[5]), 'rate_since', is_slowed and state[5] or now,
  'rate_reason', ARGV[6], 'rate_message', ARGV[7])
-- A pause without an expiry was set by a person, and stays.
local left = redis.call('PTTL', KEYS[1])
if left < 600000 and not (is_there and left == -1) then redis.call('PEXPIRE', KEYS[1], 600000) end
return {math.floor(rate * 1000), full, is_reduced and 1 or 0, is_all_refused and 1 or 0}
