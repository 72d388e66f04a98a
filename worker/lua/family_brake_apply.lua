-- Counts an outcome that may have cost money for nothing. Pauses the submits of one model family after
-- several in a row.
-- KEYS: 1 brake hash
-- ARGV: 1 'submit' or 'task', 2 how many in a row start a pause, 3 the window in which they count in
-- ms, 4 first pause in ms, 5 longest pause in ms, 6 reason, 7 message, 8 job id
-- Once paused, only a probe (a job that was allowed since) lengthens the pause: what was sent before
-- the pause proves nothing new.
-- Returns {level, pause in ms, 1 where the reason is new}; the level is negative where nothing changed.
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local brake = redis.call('HMGET', KEYS[1], 'until', 'level', 'reason', 'kind', 'feelers')
local until_ms = tonumber(brake[1]) or 0
local level = tonumber(brake[2]) or 0
if until_ms > now then
  return {-level, until_ms - now, 0}
end
if level == 0 then
  local run = 'run_' .. ARGV[1]
  local window = tonumber(ARGV[3])
  local began = tonumber(redis.call('HGET', KEYS[1], run .. '_at')) or 0
  if began + window <= now then
    redis.call('HSET', KEYS[1], run, 0, run .. '_at', now)
  end
  local count = redis.call('HINCRBY', KEYS[1], run, 1)
  redis.call('PEXPIRE', KEYS[1], window)
  if count < tonumber(ARGV[2]) then
    return {0, 0, 0}
  end
elseif not string.find(brake[5] or '', ',' .. ARGV[8] .. ',', 1, true) then
  return {-level, 0, 0}
end
level = math.min(level + 1, 20)
local pause = math.min(tonumber(ARGV[4]) * 2 ^ (level - 1), tonumber(ARGV[5]))
-- A family that is paused for its tasks opens again only after a task has ended with images.
local kind = level > 1 and brake[4] == 'task' and 'task' or ARGV[1]
if level == 1 then
  redis.call('HSET', KEYS[1], 'since', now)
end
redis.call('HSET', KEYS[1], 'until', now + pause, 'level', level, 'reason', ARGV[6],
  'message', ARGV[7], 'kind', kind, 'feeler_until', 0)
redis.call('PEXPIRE', KEYS[1], pause + 3600000)
return {level, pause, brake[3] == ARGV[6] and level > 1 and 0 or 1}
