"""HTTP servers: listeners and connections with limits and deadlines."""
