-- Claims a batch of due deliveries of one arq queue in one round trip. Each is claimed through a gate:
-- that of the Kie account with which it will be submitted.
-- A script may use no key that it is not told, so a claim takes only deliveries whose keys the caller
-- declares, and tells which others are due: the caller declares those, and claims again.
-- KEYS: 1 queue, then for each gate: its throttle log and its brake hash, where it has them, and the
-- brake hashes of its model families, then for each declared delivery: its lease and its rerun key
-- ARGV: 1 most to claim, 2 lease in ms, 3 owner token, 4 throttle limit, 5 how long a permit is reserved
-- for a claim (ms), 6 the gate to prefer among equal ones (from 0), 7 how many families each gate has,
-- then for each gate: 1 where it has a log, 2 a brake, 3 both, 0 neither, and the most to claim through it,
-- and last a JSON array of the ids of the declared deliveries
-- Returns {ms until the next claim is worthwhile or -1, how many more could be claimed at once, how many
-- other deliveries are due, how many of those could be claimed now but are not declared, or -1 where
-- nothing may be claimed now, the ids to declare next in the order of their scores, brake level of each
-- gate, then of each family of each gate (-1 where bad outcomes are counted without a pause; of a gate,
-- where Kie was busy and has accepted nothing since), then for each claimed delivery: id, its new score,
-- gate (from 0), and for how long it has been due (ms)}; scores are ms by this server's clock.
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local lease = tonumber(ARGV[2])
local limit = tonumber(ARGV[4])
local next_gate = tonumber(ARGV[6])
local families = tonumber(ARGV[7])
local gates = (#ARGV - 8) / 2
local declared = cjson.decode(ARGV[#ARGV])
-- How many deliveries to tell the caller in advance.
local ahead = 20
local logs = {}
local next_key = 2
local reply = {-1, 0, 0, 0, {}}
local free_of_gates = {}
local total = 0
-- Of gates without a log: their claims in this window and in the one before, while they have a hash.
local counters = {}

local function wait(ms)
  if reply[1] < 0 or ms < reply[1] then reply[1] = ms end
end

local function take_key(is_there)
  if not is_there then return nil end
  next_key = next_key + 1
  return KEYS[next_key - 1]
end

-- The submits per window that Kie bears, after it was busy. `submit_rate_reduce` stores the fields.
local function rate_in_force(rate, full, grows_at, step)
  if not rate then return math.huge end
  local grown = tonumber(rate) + math.max(now - tonumber(grows_at), 0) * tonumber(step)
  return grown < tonumber(full) and math.floor(grown) or math.huge
end

-- Counts the claims of a gate without a log: {window, claims in it, claims in the one before, about how
-- many of them are less than a window ago}.
local function read_counter(window_at, claims, before)
  local age = math.floor(now / 10000) - (tonumber(window_at) or 0)
  claims, before = tonumber(claims) or 0, tonumber(before) or 0
  if age > 0 then claims, before = 0, age == 1 and claims or 0 end
  return {math.floor(now / 10000), claims, before, claims + before * (1 - now % 10000 / 10000)}
end

-- The family of a job is known only once it runs. So a gate is closed by its families only where
-- each of them is paused, and during probes one delivery is claimed.
local function free_by_families(g, free)
  local all_slowed, opens_at = families > 0, math.huge
  for f = 1, families do
    local brake = redis.call('HMGET', take_key(true), 'until', 'level', 'feeler_until', 'run_submit',
      'run_task')
    local level = tonumber(brake[2]) or 0
    reply[5 + gates + (g - 1) * families + f] = level > 0 and level or (brake[4] or brake[5]) and -1 or 0
    if level == 0 then
      all_slowed = false
    else
      -- A probe may end sooner than its time.
      local probe_until = math.min(tonumber(brake[3]) or 0, now + 500)
      opens_at = math.min(opens_at, math.max(tonumber(brake[1]) or 0, probe_until))
    end
  end
  if not all_slowed then return free, false end
  if opens_at > now then
    wait(opens_at - now)
    return 0, true
  end
  return math.min(free, 1), true
end

for g = 1, gates do
  local shape = tonumber(ARGV[6 + 2 * g])
  local log, hash = take_key(shape % 2 == 1), take_key(shape >= 2)
  local free = tonumber(ARGV[7 + 2 * g])
  local level, is_unproven, rate = 0, false, math.huge
  logs[g] = log
  if hash then
    local brake = redis.call('HMGET', hash, 'until', 'level', 'unproven', 'rate', 'rate_limit',
      'rate_grows_at', 'rate_step', 'claims_window', 'claims', 'claims_before')
    level = tonumber(brake[2]) or 0
    is_unproven = brake[3] and true
    rate = rate_in_force(brake[4], brake[5], brake[6], brake[7])
    if not log then
      counters[g] = read_counter(brake[8], brake[9], brake[10])
      counters[g].hash = hash
    end
    local until_ms = tonumber(brake[1]) or 0
    if until_ms > now then
      free = 0
      wait(until_ms - now)
    elseif level > 0 or is_unproven then
      -- After a pause or a refusal, one job is a probe before the others follow.
      free = math.min(free, 1)
    end
  end
  if free > 0 and (log or rate < math.huge) then
    local most = log and math.min(limit, rate) or rate
    local taken = log and redis.call('ZCOUNT', log, '(' .. now, '+inf') or math.ceil(counters[g][4])
    if taken >= most then
      local first = log and redis.call('ZRANGEBYSCORE', log, '(' .. now, '+inf', 'WITHSCORES', 'LIMIT', taken - most, 1)
      -- A permit whose POST is unanswered may become free sooner than its score, and the rate grows.
      wait(math.min(first and tonumber(first[2]) - now or 500, 500))
    end
    free = math.min(free, math.max(most - taken, 0))
  end
  local slowed
  free, slowed = free_by_families(g, free)
  reply[5 + g] = level == 0 and is_unproven and -1 or level
  total = total + free
  -- A probe is claimed first. Otherwise a healthy gate would take every job.
  free_of_gates[g] = (reply[5 + g] ~= 0 or slowed) and free > 0 and math.huge or free
end
if total == 0 then
  reply[4] = -1
  reply[3] = redis.call('ZCOUNT', KEYS[1], '-inf', now)
  return reply
end

-- The gate with the most free slots; equal ones in turn.
local function pick_gate()
  if gates == 1 then return 1 end
  local best
  for k = 0, gates - 1 do
    local g = (next_gate + k) % gates + 1
    if free_of_gates[g] > 0 and (not best or free_of_gates[g] > free_of_gates[best]) then best = g end
  end
  free_of_gates[best] = free_of_gates[best] == math.huge and 0 or free_of_gates[best] - 1
  next_gate = best
  return best
end

local has_gate_keys = next_key > 2
local lease_at = {}
for i = 1, #declared do lease_at[declared[i]] = next_key + 2 * (i - 1) end
local most = math.min(tonumber(ARGV[1]), total)
local left_out = 0
local due = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'WITHSCORES', 'LIMIT', 0, most)
for i = 1, #due, 2 do
  local id = due[i]
  local at = lease_at[id]
  if not at then
    left_out = left_out + 1
  elseif redis.call('SET', KEYS[at], ARGV[3], 'NX', 'PX', lease) then
    -- Outside of the window while it runs. It is due again if its owner dies.
    local score = now + lease
    redis.call('ZADD', KEYS[1], 'XX', score, id)
    redis.call('DEL', KEYS[at + 1])
    local gate = pick_gate()
    local log = logs[gate]
    if log then
      -- Counted from now on, so that no other claim uses the same permit.
      redis.call('ZADD', log, now + tonumber(ARGV[5]), 'reserved:' .. id)
      if redis.call('PTTL', log) < 60000 then redis.call('PEXPIRE', log, 60000) end
    elseif counters[gate] then
      counters[gate][2] = counters[gate][2] + 1
      counters[gate].is_changed = true
    end
    reply[#reply + 1] = id
    reply[#reply + 1] = score
    reply[#reply + 1] = gate - 1
    reply[#reply + 1] = now - math.floor(tonumber(due[i + 1]))
  else
    local left = redis.call('PTTL', KEYS[at])
    redis.call('ZADD', KEYS[1], 'XX', now + math.max(left, 50), id)
  end
end
for _, counter in pairs(counters) do
  if counter.is_changed then
    redis.call('HSET', counter.hash, 'claims_window', counter[1], 'claims', counter[2], 'claims_before', counter[3])
    if redis.call('PTTL', counter.hash) < 60000 then redis.call('PEXPIRE', counter.hash, 60000) end
  end
end
reply[3], reply[4] = left_out, left_out
if left_out == 0 and (gates > 1 or has_gate_keys) then
  reply[2] = most - #due / 2
  reply[3] = redis.call('ZCOUNT', KEYS[1], '-inf', now)
end
-- What was left is first: what was claimed is due later.
local next_ones = redis.call('ZRANGE', KEYS[1], 0, math.max(left_out, ahead) - 1, 'WITHSCORES')
if next_ones[2] then
  reply[1] = math.max(tonumber(next_ones[2]) - now, 0)
end
for i = 1, #next_ones, 2 do
  -- What runs is due almost a lease ahead.
  if tonumber(next_ones[i + 1]) < now + 0.7 * lease then table.insert(reply[5], next_ones[i]) end
end
return reply
