"""Kie's API: the HTTP client, our accounts there and the check of their balance."""
