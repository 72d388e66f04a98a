"""Alerts: what is wrong with a running system, found by pure rules."""
