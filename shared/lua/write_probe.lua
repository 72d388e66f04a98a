-- Writes to find out whether Darkroom may write: a key under each prefix, and a message.
-- KEYS: 1 a key of Darkroom's, 2 a key of arq's; ARGV: 1 how long they stay (ms), 2 a channel.
redis.call('SET', KEYS[1], '', 'PX', ARGV[1])
redis.call('SET', KEYS[2], '', 'PX', ARGV[1])
return redis.call('PUBLISH', ARGV[2], '')
