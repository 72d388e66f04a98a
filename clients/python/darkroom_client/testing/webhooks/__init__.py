"""Webhooks of the Darkroom in memory: sent, listed, replayed, and signed with their secrets."""
