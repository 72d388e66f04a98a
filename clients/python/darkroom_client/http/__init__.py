"""Sends requests: each call of the API as data, repeated where that is safe, and event streams."""
