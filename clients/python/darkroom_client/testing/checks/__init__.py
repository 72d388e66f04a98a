"""Checks orders as the API does."""
