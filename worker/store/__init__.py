"""Reads and writes of jobs in Postgres."""
