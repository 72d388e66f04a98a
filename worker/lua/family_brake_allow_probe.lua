-- Ends the wait for the next probe of a paused family. The pause itself stays: one probe at a time.
-- KEYS: 1 brake hash
-- Returns 1 where the family is paused, else 0.
if (tonumber(redis.call('HGET', KEYS[1], 'level')) or 0) == 0 then
  return 0
end
redis.call('HSET', KEYS[1], 'until', 0)
return 1
