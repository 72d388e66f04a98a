"""The queue in Redis: lanes, claims under a lease, wake-ups, periodic work."""
