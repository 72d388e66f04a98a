"""Health endpoints, gauges, alerts and the incident log."""
