"""The embedded Postgres and Valkey, and their programs."""
