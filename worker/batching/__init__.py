"""Batches of items that go to Redis or Postgres in one round trip."""
