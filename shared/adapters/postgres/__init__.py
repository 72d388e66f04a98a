"""Postgres: connections, named queries, migrations and rows of jobs."""
