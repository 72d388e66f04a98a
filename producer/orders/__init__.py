"""Orders: validated requests with their order fields, and their insertion."""
