"""What both the producer and the worker stand on: domain, catalog, errors, settings, adapters."""

PROJECT = "darkroom-queue"
"""Proof that this `shared` is ours; the start-up guard compares it, see `shared.package_guard`."""
