"""Limits of requests to Kie: throttle, brakes, submit gates, concurrency per account."""
