-- Deletes a key that still has the value that was read.
-- KEYS: 1 the key; ARGV: 1 the value
-- Returns 1 if it was deleted, else 0.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('DEL', KEYS[1])
