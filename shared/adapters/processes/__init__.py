"""The registry of running processes, in Postgres and in Redis."""
