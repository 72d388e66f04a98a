"""Reads and writes of jobs in Postgres, in batches or one by one."""
