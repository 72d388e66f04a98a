-- Deletes the fields of a hash that still have the values that were read.
-- KEYS: 1 the hash; ARGV: for each field its name and the value that was read
-- Returns how many were deleted.
local deleted = 0
for n = 1, #ARGV, 2 do
    if redis.call('HGET', KEYS[1], ARGV[n]) == ARGV[n + 1] then
        deleted = deleted + redis.call('HDEL', KEYS[1], ARGV[n])
    end
end
return deleted
