"""API keys: text form, storage, and the end of streams whose key is revoked."""
