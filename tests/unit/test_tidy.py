"""Holds every Python file to the rules of hand that linters do not know."""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("shared", "producer", "worker", "tests", "bench", "clients")
FUNCTION_LINES_MAX = 50
FILE_LINES_MAX = 400
TEST_FILE_LINES_MAX = 500
FOLDER_FILES_MAX = 14
FOLDERS_WITHOUT_LIMIT = ("tests/", "worker/simulator/")
BANNED_WORDS = {"util", "utils", "helper", "helpers", "common", "base", "manager", "managers"}


@dataclass(frozen=True, slots=True)
class Source:
    """One Python file: where it is, what it says, and how it is built."""

    path: str
    text: str
    tree: ast.Module
    nodes: tuple[ast.AST, ...]
    """All nodes of the tree: rules read them again and again."""

    @property
    def is_test(self) -> bool:
        return self.path.startswith("tests/")


def read_source(path: str, text: str) -> Source:
    tree = ast.parse(text)
    return Source(path, text, tree, tuple(ast.walk(tree)))


def our_files() -> list[Path]:
    return sorted(file for package in PACKAGES for file in (ROOT / package).rglob("*.py"))


def dotted(node: ast.expr) -> str:
    """Return `a.b.c` for a chain of names, or '' for anything else."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        owner = dotted(node.value)
        return f"{owner}.{node.attr}" if owner else ""
    return ""


def calls_of(source: Source) -> Iterator[tuple[str, ast.Call]]:
    for node in source.nodes:
        if isinstance(node, ast.Call):
            yield dotted(node.func), node


def words_of(name: str) -> set[str]:
    """Split snake_case and CamelCase into lower-case words."""
    return {word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", name)}


# --- the rules: each returns what is wrong, a sentence per fault ------------------------------


def a_function_has_at_most_50_lines(source: Source) -> list[str]:
    return [
        f"{node.name} has {(node.end_lineno or node.lineno) - node.lineno + 1} lines"
        for node in source.nodes
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (node.end_lineno or node.lineno) - node.lineno + 1 > FUNCTION_LINES_MAX
    ]


def a_file_has_at_most_400_lines_and_a_test_500(source: Source) -> list[str]:
    allowed = TEST_FILE_LINES_MAX if source.is_test else FILE_LINES_MAX
    lines = len(source.text.splitlines())
    return [f"{lines} lines; at most {allowed}"] if lines > allowed else []


def names_say_what_is_inside(source: Source) -> list[str]:
    parts = list(Path(source.path).with_suffix("").parts)
    classes = [node.name for node in source.nodes if isinstance(node, ast.ClassDef)]
    return [
        f"{name!r} names nothing: {', '.join(sorted(words_of(name) & BANNED_WORDS))}"
        for name in parts + classes
        if words_of(name) & BANNED_WORDS
    ]


def only_the_command_line_prints(source: Source) -> list[str]:
    if source.path.startswith(("producer/cli/", "bench/")):
        return []
    return [f"line {call.lineno} prints" for name, call in calls_of(source) if name == "print"]


def no_except_is_bare(source: Source) -> list[str]:
    return [
        f"line {node.lineno} catches everything"
        for node in source.nodes
        if isinstance(node, ast.ExceptHandler) and node.type is None
    ]


def every_datetime_has_a_zone(source: Source) -> list[str]:
    faults = []
    for name, call in calls_of(source):
        owner, _, method = name.rpartition(".")
        if owner.rpartition(".")[2] not in {"datetime", "date"}:
            continue
        given = len(call.args) + sum(keyword.arg in {"tz", "tzinfo"} for keyword in call.keywords)
        naive = method in {"utcnow", "utcfromtimestamp", "today"}
        naive |= method == "now" and given < 1
        naive |= method == "fromtimestamp" and given < 2
        if naive:
            faults.append(f"line {call.lineno}: {name}() knows no time zone")
    return faults


def nothing_is_left_for_later(source: Source) -> list[str]:
    marks = ("TO" + "DO", "FIX" + "ME", "X" * 3 + ":")
    return [
        f"line {number} says {mark}"
        for number, line in enumerate(source.text.splitlines(), start=1)
        for mark in marks
        if mark in line
    ]


def no_test_is_skipped(source: Source) -> list[str]:
    if source.path == "tests/deployments/programs.py":
        # Servers that a machine lacks: `make test-deployments` prints which.
        return []
    banned = {"skip", "skipif", "xfail", "importorskip"}
    return [
        f"line {node.lineno}: pytest's {node.attr}"
        for node in source.nodes
        if isinstance(node, ast.Attribute)
        and node.attr in banned
        and dotted(node).startswith("pytest.")
    ]


def our_own_code_is_never_patched(source: Source) -> list[str]:
    faults = []
    ours = _names_from_our_packages(source)
    for name, call in calls_of(source):
        patches = re.search(r"(^|\.)(patch(\.\w+)?|setattr|delattr)$", name)
        # monkeypatch and mock only: the built-in setattr is no patch.
        if not patches or name in {"setattr", "delattr"} or not call.args:
            continue
        target = call.args[0]
        text = target.value if isinstance(target, ast.Constant) else None
        said = text if isinstance(text, str) else dotted(target)
        first = said.partition(".")[0]
        if first in PACKAGES or first in ours:
            faults.append(f"line {call.lineno} patches {said}")
    return faults


def _names_from_our_packages(source: Source) -> set[str]:
    names: set[str] = set()
    for node in source.nodes:
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] in PACKAGES:
            names |= {alias.asname or alias.name for alias in node.names}
        elif isinstance(node, ast.Import):
            names |= {
                alias.asname
                for alias in node.names
                if alias.asname and alias.name.partition(".")[0] in PACKAGES
            }
    return names


def every_module_says_what_it_is_for(source: Source) -> list[str]:
    says = ast.get_docstring(source.tree) or ""
    first = says.partition("\n\n")[0].strip()
    if not first:
        return ["has no docstring"]
    return [] if first[-1] in ".:" else [f"its docstring opens without a sentence: {first!r}"]


RULES: dict[Callable[[Source], list[str]], tuple[str, str]] = {
    # Each with a file that breaks it: its path and its text.
    a_function_has_at_most_50_lines: (
        "worker/x.py",
        "def long():\n" + "    step()\n" * FUNCTION_LINES_MAX,
    ),
    a_file_has_at_most_400_lines_and_a_test_500: ("worker/x.py", "\n" * (FILE_LINES_MAX + 1)),
    names_say_what_is_inside: ("worker/pool_manager.py", "class JobHelper: ..."),
    only_the_command_line_prints: ("worker/x.py", "print('hello')"),
    no_except_is_bare: ("worker/x.py", "try:\n    f()\nexcept:\n    raise"),
    every_datetime_has_a_zone: (
        "worker/x.py",
        "import datetime as d\nd.datetime.now()",
    ),
    nothing_is_left_for_later: ("worker/x.py", "# TO" + "DO: later"),
    no_test_is_skipped: ("tests/x.py", "@pytest.mark.skip\ndef test_x(): ..."),
    our_own_code_is_never_patched: (
        "tests/x.py",
        "from worker.queue import leased_worker as w\nmonkeypatch.setattr(w, 'LEASE_MS', 1)",
    ),
    every_module_says_what_it_is_for: ("worker/x.py", "import asyncio"),
}


@cache
def faults_by_rule() -> dict[Callable[[Source], list[str]], list[str]]:
    """Read each file once, and return what every rule finds in all of them."""
    found: dict[Callable[[Source], list[str]], list[str]] = {rule: [] for rule in RULES}
    for file in our_files():
        path = file.relative_to(ROOT).as_posix()
        source = read_source(path, file.read_text(encoding="utf-8"))
        for rule, faults in found.items():
            faults += [f"{path}: {fault}" for fault in rule(source)]
    return found


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_every_file_keeps_the_rule(rule: Callable[[Source], list[str]]) -> None:
    faults = faults_by_rule()[rule]
    assert not faults, "\n".join(faults)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_rule_finds_a_file_that_breaks_it(rule: Callable[[Source], list[str]]) -> None:
    assert rule(read_source(*RULES[rule]))


def crowded_folders(paths: Iterable[str]) -> list[str]:
    """Return each folder with more Python files than allowed, tests and the simulator excepted."""
    limited = [path for path in paths if not path.startswith(FOLDERS_WITHOUT_LIMIT)]
    counts = Counter(Path(path).parent.as_posix() for path in limited)
    return [f"{folder}: {n} files" for folder, n in counts.items() if n > FOLDER_FILES_MAX]


def test_a_folder_has_at_most_14_files() -> None:
    assert not crowded_folders(file.relative_to(ROOT).as_posix() for file in our_files())


def test_a_folder_with_15_files_is_found() -> None:
    names = [f"{letter}.py" for letter in "abcdefghijklmno"]
    assert crowded_folders(f"worker/queue/{name}" for name in names) == ["worker/queue: 15 files"]
    assert not crowded_folders(f"worker/queue/{name}" for name in names[1:])
    assert not crowded_folders(f"worker/simulator/{name}" for name in names)
    assert not crowded_folders(f"tests/integration/worker/{name}" for name in names)


def test_every_package_is_checked() -> None:
    packages_seen = {file.relative_to(ROOT).parts[0] for file in our_files()}
    assert packages_seen == set(PACKAGES)


@pytest.mark.parametrize(
    "text",
    [
        "from unittest.mock import patch\npatch('worker.queue.leased_worker.LEASE_MS', 1)",
        "monkeypatch.setattr('producer.list_pages.MAX_LIST_LIMIT', 1)",
        "from shared.domain import lifecycle as table\nmonkeypatch.setattr(table, 'OPEN', 1)",
        "import worker.queue.leased_worker as c\nmock.patch.object(c.LeasedWorker, 'drain')",
    ],
)
def test_patching_our_own_code_is_found_however_it_is_written(text: str) -> None:
    assert our_own_code_is_never_patched(read_source("tests/x.py", text))


@pytest.mark.parametrize(
    "text",
    ["monkeypatch.setattr('socket.gethostname', f)", "monkeypatch.setenv('worker.x', '1')"],
)
def test_patching_what_is_not_ours_is_left_alone(text: str) -> None:
    assert not our_own_code_is_never_patched(read_source("tests/x.py", text))
