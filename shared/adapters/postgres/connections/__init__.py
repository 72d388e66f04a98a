"""Opens connections: the URL, its options, and what differs behind a pooler."""
