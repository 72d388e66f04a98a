"""`darkroom demo`: real jobs through the whole of Darkroom, against the simulator."""

from __future__ import annotations


def demo() -> None:
    """Run real jobs from end to end on this machine: servers, simulator, worker, API."""
    # Its HTTP client takes longer to load than most commands take to run.
    from producer.cli.demo.demo_command import run_demo  # noqa: PLC0415

    run_demo()


__all__ = ["demo"]
