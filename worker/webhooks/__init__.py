"""Sends the end of a job to the URL of its caller, signed, at least once."""
