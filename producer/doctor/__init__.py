"""`darkroom doctor`: checks of servers, processes and stored data, one finding for each."""

from producer.doctor.examination import (
    Finding,
    check_invariants,
    connect_for_checks,
    examine,
)

__all__ = ["Finding", "check_invariants", "connect_for_checks", "examine"]
