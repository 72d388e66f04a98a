-- Records the outcome of a job whose family is paused, or has had a bad outcome lately.
-- KEYS: 1 brake hash
-- ARGV: 1 'accepted' (a task exists), 'delivered' (its images came) or 'neither', 2 job id
-- The success of a probe halves the level: that of its submit where submits went wrong, that of its
-- task where tasks did. Without a level a success ends the row of bad outcomes.
-- Returns the level that is left, or -1 where a row of bad outcomes is still counted.
local news, job = ARGV[1], ARGV[2]
local brake = redis.call('HMGET', KEYS[1], 'level', 'kind', 'feelers')
local level = tonumber(brake[1]) or 0
if level == 0 then
  local run = news == 'accepted' and 'run_submit' or 'run_task'
  if news ~= 'neither' then
    redis.call('HDEL', KEYS[1], run, run .. '_at')
  end
  return redis.call('EXISTS', KEYS[1]) == 1 and -1 or 0
end
if not string.find(brake[3] or '', ',' .. job .. ',', 1, true) then
  return level
end
if news == 'neither' or news == (brake[2] == 'task' and 'delivered' or 'accepted') then
  redis.call('HSET', KEYS[1], 'feeler_until', 0)
  if news ~= 'neither' then
    level = math.floor(level / 2)
    if level == 0 then
      redis.call('DEL', KEYS[1])
    else
      redis.call('HSET', KEYS[1], 'level', level, 'until', 0)
    end
  end
end
return level
