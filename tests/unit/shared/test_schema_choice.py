"""The SQL files name the schema `public` only where another schema can take its place."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from shared.adapters.postgres.named_queries import sql_folder
from shared.adapters.postgres.schema_choice import sql_in_schema
from shared.postgres_url import find_schema_fault, with_search_path

APPLIED = [
    *sorted((sql_folder() / "migrations").glob("*.sql")),
    *sorted((sql_folder() / "functions").glob("*.sql")),
    sql_folder() / "roles.sql",
    sql_folder() / "rights.sql",
]


@pytest.mark.parametrize("file", APPLIED, ids=lambda file: file.stem)
def test_every_mention_of_public_is_replaced(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    replaced = sql_in_schema(text, "Dark-Room x")
    assert not re.findall(r".*\bpublic\b.*", replaced)
    assert sql_in_schema(text, "public") == text


def test_the_queries_name_no_schema_of_our_tables() -> None:
    for file in (sql_folder() / "queries").glob("*.sql"):
        assert not re.findall(r".*\bpublic\b.*", file.read_text(encoding="utf-8")), file.name


def test_everybody_and_words_that_contain_the_name_stay() -> None:
    text = "GRANT USAGE ON SCHEMA public TO PUBLIC; -- is it publicly known?\nSELECT public_url"
    assert sql_in_schema(text, "a b") == (
        'GRANT USAGE ON SCHEMA "a b" TO PUBLIC; -- is it publicly known?\nSELECT public_url'
    )


@pytest.mark.parametrize(
    "name", ["", "it's", 'a"b', "a\\b", "$user", "50%", "a\nb", "pg_temp", "ü" * 32]
)
def test_names_that_sql_text_could_not_hold_are_refused(name: str) -> None:
    assert find_schema_fault(name) is not None


@pytest.mark.parametrize("name", ["public", "Dark-Room x", "dunkelkammer_ü", "select", "a.b", "1"])
def test_other_names_are_taken(name: str) -> None:
    assert find_schema_fault(name) is None


@pytest.mark.parametrize(
    ("url", "given"),
    [
        ("postgresql://u@h/d?", ""),
        ("postgresql://u:p%2F@h1,h2/d?sslmode=require&", "endpoint%3Dx%20"),
    ],
)
def test_the_search_path_joins_the_options_of_a_url(url: str, given: str) -> None:
    before = f"{url}options={given.removesuffix('%20')}".removesuffix("?options=")
    assert with_search_path(before, '"a b"') == (
        f"{url}options={given}-csearch_path%3D%22a%5C%20b%22"
    )


def test_no_other_search_path_comes_after_it() -> None:
    url = with_search_path("postgresql://u@h/d?search_path=elsewhere&sslmode=require", "shop")
    assert url == "postgresql://u@h/d?sslmode=require&options=-csearch_path%3Dshop"
