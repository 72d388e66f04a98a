"""Holds the documents equal to the code that they describe."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import asyncpg
import pytest

from shared.domain.lifecycle import (
    TERMINAL,
    TRANSITIONS,
    JobState,
    Reason,
    event_name,
)
from shared.settings import Settings
from tests.support.lifecycle_diagram import to_mermaid

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted([*DOCS.rglob("*.md"), *ROOT.glob("*.md")])
DECISIONS = sorted((DOCS / "decisions").glob("*.md"))
FENCED = re.compile(r"^```\w*\n(.*?)^```", re.MULTILINE | re.DOTALL)
COMMANDS = {
    *("accounts", "api", "audit", "demo", "doctor", "enqueue", "env", "health", "jobs", "keys"),
    *("files", "kie", "margin", "prune", "results", "version"),
    *("models", "migrate", "prices", "queue", "quote", "simulate-kie", "up", "webhooks", "worker"),
}
TERMS = {
    *("attempt", "capture", "claim", "drain", "hold", "job", "lease", "poll", "reconcile"),
    *("release", "settle", "snooze", "submit", "task"),
}


def read(name: str) -> str:
    return (DOCS / name).read_text(encoding="utf-8")


def rows_under(text: str, heading: str) -> list[list[str]]:
    """Return the cells of the first table under a heading, without its head."""
    section = text.partition(f"\n## {heading}\n")[2].partition("\n## ")[0] if heading else text
    rows = [line for line in section.splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in re.split(r"(?<!\\)\|", row)[1:-1]] for row in rows]
    ends = [index for index, row in enumerate(cells) if index and set(row[0]) <= set("- ")]
    last = ends[1] - 1 if len(ends) > 1 else len(cells)
    return cells[2:last]


def words(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def our_sources() -> list[Path]:
    return [file for package in ("shared", "producer", "worker") for file in _python_files(package)]


def _python_files(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


# --- lifecycle.md ---------------------------------------------------------------------------


def test_the_diagram_of_the_lifecycle_is_the_one_the_code_draws() -> None:
    assert f"```mermaid\n{to_mermaid()}\n```" in read("lifecycle.md")


def test_the_states_are_listed_as_in_the_code() -> None:
    rows = rows_under(read("lifecycle.md"), "States")
    assert [words(row[0])[0] for row in rows] == [state.value for state in JobState]
    ended = [row[0] for row in rows if row[3] == "terminal"]
    assert [words(cell)[0] for cell in ended] == [state for state in JobState if state in TERMINAL]


def test_the_events_are_listed_as_in_the_table() -> None:
    rows = rows_under(read("lifecycle.md"), "Events")
    assert [(words(row[0])[0], set(words(row[1])), words(row[2])[0]) for row in rows] == [
        (event_name(one.event), {source.value for source in one.sources}, one.target.value)
        for one in TRANSITIONS
    ]


def test_the_reasons_are_listed_as_in_the_code() -> None:
    rows = rows_under(read("lifecycle.md"), "Reasons")
    assert [words(row[0])[0] for row in rows] == [reason.value for reason in Reason]


# --- configuration.md -----------------------------------------------------------------------


def test_the_settings_are_listed_with_their_defaults() -> None:
    expected = []
    for name, field in Settings.model_fields.items():
        default = field.default
        shown = f"{default:g}" if isinstance(default, float) else str(default)
        expected.append([name.upper(), "none" if default is None else f"`{shown}`"])
    rows = rows_under(read("configuration.md"), "")
    assert [[words(row[0])[0], row[1]] for row in rows] == expected


def test_secrets_are_said_to_be_secret() -> None:
    rows = rows_under(read("configuration.md"), "")
    said = {words(row[0])[0].lower() for row in rows if row[2].endswith("Secret.")}
    assert said == {
        name
        for name, field in Settings.model_fields.items()
        if "SecretStr" in repr(field.annotation)
    }


# --- operations.md --------------------------------------------------------------------------


def metric_names() -> set[str]:
    found = set()
    for file in our_sources():
        if not file.name.endswith(("metrics.py", "gauges.py", "push_channels.py")):
            continue
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            name = node.args[0] if node.args else None
            if isinstance(name, ast.Constant) and str(name.value).startswith("darkroom_"):
                found.add(str(name.value))
    return found


def test_every_metric_is_explained_and_no_other() -> None:
    rows = rows_under(read("operations.md"), "Metrics")
    assert {words(row[0])[0] for row in rows} == metric_names()


def test_alerts_are_made_of_metrics_that_exist() -> None:
    alerts = read("operations.md").partition("\n## Alerts\n")[2].partition("\n## ")[0]
    named = set(re.findall(r"darkroom_[a-z_]+[a-z]", alerts))
    bare = {re.sub(r"_(bucket|count|sum)$", "", name) for name in named}
    assert bare
    assert bare <= metric_names()


def test_log_events_of_the_runbook_are_written_somewhere() -> None:
    code = "\n".join(file.read_text(encoding="utf-8") for file in our_sources())
    alerts = read("operations.md").partition("And on log lines")[2].partition("\n## ")[0]
    events = [words(line)[0] for line in alerts.splitlines() if line.startswith("| `")]
    assert events
    assert not [event for event in events if f'"{event}"' not in code]


# --- SQL ------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", ["pricing_for_admins.md", "add_a_model.md", "account_limits.md"])
async def test_the_sql_of_the_page_works_for_an_admin(page: str, database_url: str) -> None:
    blocks = re.findall(r"^```sql\n(.*?)^```", read(page), re.MULTILINE | re.DOTALL)
    assert blocks
    connection = await asyncpg.connect(database_url)
    try:
        await connection.execute("SET ROLE darkroom_admin")
        for block in blocks:
            await connection.execute(block)
    finally:
        await connection.close()


async def test_the_history_has_the_reason_that_the_page_gives(database_url: str) -> None:
    blocks = re.findall(r"^```sql\n(SET .*?)^```", read("pricing_for_admins.md"), re.M | re.S)
    connection = await asyncpg.connect(database_url)
    try:
        for block in blocks:
            await connection.execute(block)
        reasons = await connection.fetch("SELECT DISTINCT reason FROM pricing_history")
    finally:
        await connection.close()
    assert "Kie raised its price" in {row["reason"] for row in reasons}


# --- glossary and decisions -----------------------------------------------------------------


def test_the_glossary_explains_the_words_of_the_trade_in_order() -> None:
    explained = [row[0].strip("*") for row in rows_under(read("glossary.md"), "")]
    assert set(explained) >= TERMS
    assert explained == sorted(set(explained))


def test_decisions_are_numbered_without_gaps_and_listed() -> None:
    numbers = [page.name[:4] for page in DECISIONS]
    assert numbers == [f"{number:04}" for number in range(1, len(DECISIONS) + 1)]
    listed = re.findall(r"\(decisions/([^)]+)\)", read("architecture.md"))
    assert listed == [page.name for page in DECISIONS]


@pytest.mark.parametrize("page", DECISIONS, ids=lambda page: page.stem)
def test_a_decision_has_its_three_parts(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert text.startswith(f"# {page.name[:4]}: ")
    assert re.findall(r"^## (.+)$", text, re.MULTILINE) == ["Context", "Decision", "Consequences"]


# --- every page -----------------------------------------------------------------------------


def anchors_of(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {
        re.sub(r"[^\w\- ]", "", heading).strip().lower().replace(" ", "-") for heading in headings
    }


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    broken = []
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path) if path else page
        found = target.exists() and (not anchor or anchor in anchors_of(target))
        if not found:
            broken.append(link)
    assert not broken


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_commands_that_are_named_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):.*## ", makefile, re.MULTILINE))
    code = "\n".join([*words(FENCED.sub("", text)), *FENCED.findall(text)])
    assert set(re.findall(r"\bdarkroom ([a-z-]+)", code)) <= COMMANDS
    assert set(re.findall(r"\bmake ([a-z-]+)", code)) <= targets


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_files_that_are_named_exist(page: Path) -> None:
    path_pattern = r"`((?:shared|producer|worker|sql|tests|docs)/[\w./-]+)`"
    named = set(re.findall(path_pattern, page.read_text(encoding="utf-8")))
    assert not [name for name in named if not (ROOT / name).exists()]
