"""The scripts and styles of the console: whose they are, how long they load, what they hold."""

from __future__ import annotations

import gzip
import hashlib
import re
from pathlib import Path

from producer.console.static_files import FILES, read_static_files

STATIC = Path(__file__).parents[3] / "producer/console/static"
VENDORED = {
    # htmx.org 2.0.11 and uplot 1.6.32, from the npm registry, unchanged.
    "vendor/htmx/htmx.min.js": "d6fdc75f204e6bdefa99b69bf1e6d4ac69b8a364f77929f45c13476b4000f717",
    "vendor/htmx/LICENSE": "d3d2456f76414f2456104660ebd65aff1c04cd7966b942bdabd63f3cdb316a38",
    "vendor/uplot/uPlot.iife.min.js": (
        "19c8d4c6ad88929a79f4ae49d6f7161566dfd0ba3d15cc495e974f787eb78f1f"
    ),
    "vendor/uplot/uPlot.min.css": (
        "df630c6a8d6f8eeaff264b50f73ce5b114f646ffd9a0bb74f049b0a00135fa04"
    ),
    "vendor/uplot/LICENSE": "8f989229699b4fe2f1a0432d0e9edc338a8a911e250e2d1b01ecd770a5f5b1bd",
}
FORBIDDEN = re.compile(r"<style|\sstyle=|\son[a-z]+=|hx-on|<script(?! src=)|\|\s*safe\b")
STATIC_BYTES_MAX = 75_000
"""Leaves a quarter of the 100 kB of the first load for the page itself."""


def test_what_others_wrote_is_unchanged_and_comes_with_its_licence() -> None:
    files = {
        file.relative_to(STATIC).as_posix(): file
        for file in (STATIC / "vendor").rglob("*")
        if file.is_file()
    }
    assert {
        name: hashlib.sha256(file.read_bytes()).hexdigest() for name, file in files.items()
    } == VENDORED


def test_every_file_is_served_except_licences() -> None:
    names = {
        file.relative_to(STATIC).as_posix()
        for file in STATIC.rglob("*")
        if file.is_file() and file.name != "LICENSE"
    }
    assert names == set(FILES)


def test_all_files_together_are_small_when_compressed() -> None:
    assert 20_000 < sum(len(file.compressed) for file in read_static_files()) < STATIC_BYTES_MAX


def test_a_url_names_the_content_of_its_file() -> None:
    for file in read_static_files():
        digest = hashlib.sha256(file.body).hexdigest()
        assert digest[:12] in file.url
        assert gzip.decompress(file.compressed) == file.body


def test_nothing_is_loaded_from_another_server() -> None:
    ours = [STATIC / "console.css", STATIC / "console.js", STATIC / "live.js", STATIC / "plots.js"]
    ours += (STATIC.parent / "templates").rglob("*.html")
    for file in ours:
        text = file.read_text("utf-8").replace("http://www.w3.org/2000/svg", "")
        assert not re.search(r"https?://|@import|url\((?!#)", text), file.name


def test_no_template_has_what_the_policy_forbids() -> None:
    for file in (STATIC.parent / "templates").rglob("*.html"):
        text = file.read_text("utf-8")
        assert not FORBIDDEN.search(text), file.name


def test_the_dark_colours_are_the_same_by_choice_as_by_the_system() -> None:
    # CSS cannot name one block for both, and plots read the colours as they stand.
    text = (STATIC / "console.css").read_text("utf-8")
    by_system = re.search(r':root:not\(\[data-theme="light"\]\) \{(.*?)\n\}', text, re.DOTALL)
    by_choice = re.search(r':root\[data-theme="dark"\] \{(.*?)\n\}', text, re.DOTALL)
    assert by_system is not None
    assert by_choice is not None
    assert by_system.group(1) == by_choice.group(1)
    assert "--ground: #0e0e11" in by_system.group(1)
