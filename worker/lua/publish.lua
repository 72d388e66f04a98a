-- Publishes a message. Messages are hints (docs/decisions/0008).
-- KEYS: 1 the channel; ARGV: 1 the message.
return redis.call('PUBLISH', KEYS[1], ARGV[1])
