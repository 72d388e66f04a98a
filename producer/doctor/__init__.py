"""`darkroom doctor`: checks of servers, processes and stored data, one finding for each."""

from producer.doctor.examination import examine
from producer.doctor.finding import Finding
from producer.doctor.invariant_findings import check_invariants, connect_for_checks

__all__ = ["Finding", "check_invariants", "connect_for_checks", "examine"]
