-- Tells whoever listens on a channel; what is said there is a hint (docs/decisions/0008).
-- ARGV: 1 the channel, 2 what is said.
return redis.call('PUBLISH', ARGV[1], ARGV[2])
