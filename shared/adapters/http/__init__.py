"""HTTP servers with limits and deadlines for listeners and connections."""
