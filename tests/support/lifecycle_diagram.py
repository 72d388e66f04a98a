"""The lifecycle table as a diagram, for the comparison with docs/lifecycle.md."""

from __future__ import annotations

from shared.domain.lifecycle import TERMINAL, TRANSITIONS, JobState, event_name


def to_mermaid() -> str:
    """Return the table as a Mermaid state diagram. `docs/lifecycle.md` contains the same text."""
    lines = ["stateDiagram-v2", f"    [*] --> {JobState.QUEUED}: enqueued"]
    for transition in TRANSITIONS:
        lines += [
            f"    {source} --> {transition.target}: {event_name(transition.event)}"
            for source in sorted(transition.sources)
        ]
    lines += [f"    {state} --> [*]" for state in sorted(TERMINAL)]
    return "\n".join(lines)
