-- Tests whether Darkroom can write: writes a key with each prefix, and publishes a message.
-- KEYS: 1 a key of Darkroom and a channel, 2 a key of arq; ARGV: 1 their TTL (ms)
redis.call('SET', KEYS[1], '', 'PX', ARGV[1])
redis.call('SET', KEYS[2], '', 'PX', ARGV[1])
return redis.call('PUBLISH', KEYS[1], '')
