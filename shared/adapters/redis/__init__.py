"""Redis: connections, deliveries, and messages between processes."""
