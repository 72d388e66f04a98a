"""Redis: connections, deliveries, messages between processes."""
