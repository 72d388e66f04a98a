"""`darkroom demo`: run real jobs through all of Darkroom, against the simulator."""

from __future__ import annotations


def demo() -> None:
    """Run real jobs from end to end on this machine: servers, simulator, worker, API."""
    # Imported here, because its HTTP client loads slowly.
    from producer.cli.demo.demo_command import run_demo

    run_demo()


__all__ = ["demo"]
