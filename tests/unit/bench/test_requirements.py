"""The pins of the peers' environments."""

from __future__ import annotations

import re

import pytest

from bench.peers.peer_environments import REQUIREMENTS, ROOT, peers, version_of

WANTED = re.compile(r"^([a-z-]+)(?:\[[a-z,]+\])?==(\S+)$", re.MULTILINE)


@pytest.mark.parametrize("peer", peers())
def test_what_a_pipeline_asks_for_is_what_is_pinned(peer: str) -> None:
    asked = dict(WANTED.findall((REQUIREMENTS / f"{peer}.in").read_text(encoding="utf-8")))
    pinned = (REQUIREMENTS / f"{peer}.txt").read_text(encoding="utf-8")
    assert asked[peer] == version_of(peer)
    for name, version in asked.items():
        assert re.search(rf"^{name}(\[[a-z,]+\])?=={re.escape(version)}\b", pinned, re.MULTILINE)


@pytest.mark.parametrize("peer", peers())
def test_every_pin_has_hashes_and_none_says_where_to_fetch_it(peer: str) -> None:
    pinned = (REQUIREMENTS / f"{peer}.txt").read_text(encoding="utf-8")
    for pin in re.split(r"\n(?=[a-z])", pinned.strip()):
        assert "--hash=sha256:" in pin, pin.splitlines()[0]
    assert "://" not in pinned
    assert "--index" not in pinned


@pytest.mark.parametrize("peer", peers())
def test_every_peer_has_a_pipeline_that_says_what_is_tuned(peer: str) -> None:
    text = (ROOT / "bench" / "peers" / f"{peer}_pipeline.py").read_text(encoding="utf-8")
    assert "\nTuned: " in text
