"""Health endpoints, gauges, alerts and the log of incidents."""
