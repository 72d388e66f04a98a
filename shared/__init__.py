"""Code that the producer and the worker share: domain, catalog, errors, settings and adapters."""

PROJECT = "darkroom-queue"
"""The name of the distribution. `shared.package_guard` compares it at start-up."""
