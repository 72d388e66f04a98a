"""OpenAI's images API, for programs that use OpenAI's SDK with another base URL and key."""
