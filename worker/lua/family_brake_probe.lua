-- Decides whether a job of a paused family may be submitted: one probe at a time, over all workers.
-- KEYS: 1 brake hash
-- ARGV: 1 job id, 2 how long a probe excludes others while its submit is unanswered (ms), 3 the same
-- while its task has not ended, where the family is paused for its tasks
-- Returns 0 (submit), or the ms to wait.
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
local probe_until = tonumber(brake[3]) or 0
local own = ',' .. ARGV[1] .. ','
local is_probe = string.sub(brake[4] or '', -#own) == own
if probe_until > now and not is_probe then
  return math.min(probe_until - now, 1000)
end
local excluded = tonumber(brake[5] == 'task' and ARGV[3] or ARGV[2])
-- The ids of the last ten probes, each followed by a comma.
local probes = brake[4] or ','
if not is_probe then
  probes = string.sub(probes .. ARGV[1] .. ',', -(10 * (#ARGV[1] + 1) + 1))
end
redis.call('HSET', KEYS[1], 'feeler_until', now + excluded, 'feelers', probes)
redis.call('PEXPIRE', KEYS[1], excluded + 3600000)
return 0
