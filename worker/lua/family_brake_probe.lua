-- Asks whether a job of a slowed family may be submitted: one at a time, over all workers.
-- KEYS: 1 brake hash
-- ARGV: 1 job id, 2 how long a feeler keeps others out while its submit is unanswered (ms), 3 the same
-- while its task has not ended, where the family is paused for its tasks
-- Returns 0 (go on), or the ms to wait.
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local brake = redis.call('HMGET', KEYS[1], 'until', 'level', 'feeler_until', 'feelers', 'kind')
if (tonumber(brake[2]) or 0) == 0 then
  return 0
end
local until_ms = tonumber(brake[1]) or 0
if until_ms > now then
  return until_ms - now
end
local feeler_until = tonumber(brake[3]) or 0
local own = ',' .. ARGV[1] .. ','
local is_feeler = string.sub(brake[4] or '', -#own) == own
if feeler_until > now and not is_feeler then
  return math.min(feeler_until - now, 1000)
end
local hold = tonumber(brake[5] == 'task' and ARGV[3] or ARGV[2])
-- The ids of the last ten, each followed by a comma.
local feelers = brake[4] or ','
if not is_feeler then
  feelers = string.sub(feelers .. ARGV[1] .. ',', -(10 * (#ARGV[1] + 1) + 1))
end
redis.call('HSET', KEYS[1], 'feeler_until', now + hold, 'feelers', feelers)
redis.call('PEXPIRE', KEYS[1], hold + 3600000)
return 0
