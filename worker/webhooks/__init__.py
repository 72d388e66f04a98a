"""Webhooks out: the end of a job is told to the URL that its caller gave, signed, at least once."""
