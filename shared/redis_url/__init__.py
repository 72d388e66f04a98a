"""Parses `REDIS_URL`: one server, a Unix socket, or Sentinels, each with TLS."""
