-- Publishes a message. Messages are hints (docs/decisions/0008).
-- ARGV: 1 the channel, 2 the message.
return redis.call('PUBLISH', ARGV[1], ARGV[2])
