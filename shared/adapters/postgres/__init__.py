"""Postgres: connections, named queries, migrations, rows of jobs."""
