"""KIE_API_KEYS: several accounts at Kie, all faults reported at once, and no key shown."""

from __future__ import annotations

import re

import pytest

from shared.errors import ConfigurationError
from shared.kie_accounts import ACCOUNT_NAME_RULE
from shared.redis_keys import brake_key
from shared.settings import Settings, load_settings

ONE = "0123456789abcdef0123456789ABCDEF"
OTHER = "fedcba9876543210fedcba9876543210"


def accounts(settings: Settings) -> list[tuple[str, str]]:
    return [(one.name, one.key.get_secret_value()) for one in settings.kie_keys]


def refusal(monkeypatch: pytest.MonkeyPatch, value: str) -> str:
    """Return the one sentence about these keys."""
    monkeypatch.setenv("KIE_API_KEYS", value)
    with pytest.raises(ConfigurationError) as caught:
        load_settings()
    (line,) = str(caught.value).splitlines()[1:]
    assert line.startswith("  KIE_API_KEYS: ")
    for key in (ONE, OTHER, ONE[:8], OTHER[:8]):
        assert key not in str(caught.value)
    return line.removeprefix("  KIE_API_KEYS: ")


@pytest.mark.parametrize(
    "value",
    [
        f"studio={ONE},archive={OTHER}",
        f" studio = {ONE} ,\tarchive={OTHER} ",
    ],
)
def test_each_account_has_a_name_and_a_key(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KIE_API_KEYS", value)
    settings = load_settings()
    assert accounts(settings) == [("studio", ONE), ("archive", OTHER)]
    assert settings.kie_account_names == ("studio", "archive")


def test_one_key_is_the_account_default_and_none_the_simulators(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert accounts(load_settings()) == []
    assert load_settings().kie_account_names == ("default",)
    monkeypatch.setenv("KIE_API_KEY", "any")
    assert accounts(load_settings()) == [("default", "any")]


def test_the_account_of_the_single_key_can_be_named_beside_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("KIE_API_KEYS", f"default={ONE},a={OTHER}")
    assert accounts(load_settings()) == [("default", ONE), ("a", OTHER)]


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (ONE, "pair 1 must be name=key"),
        (f"studio={ONE},", "pair 2 is empty"),
        (",", "pair 1 is empty; pair 2 is empty"),
        (f"={ONE}", "pair 1 has no name"),
        ("studio=", "pair 1 has no key"),
        (f"Studio={ONE}", "pair 1 has a name that is none: a name is a lower-case letter"),
        (f"1st={ONE}", "pair 1 has a name that is none"),
        (f"{'a' * 21}={ONE}", "pair 1 has a name that is none"),
        (f"studio={ONE}={OTHER}", "pair 1 must be name=key"),
        (f"studio={ONE} {OTHER}", "pair 1 has a key that is not one word"),
        (f"studio={ONE}é", "pair 1 has a key that is not one word"),
        (f"a={ONE},a={OTHER}", "pairs 1 and 2 have the same name"),
        (f"a={ONE},b={OTHER},c={ONE}", "pairs 1 and 3 have the same key"),
    ],
)
def test_a_fault_is_reported_by_the_position_of_its_pair(
    value: str, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = refusal(monkeypatch, value)
    assert told in said
    assert said.endswith("allowed are name=key pairs separated by commas")


@pytest.mark.parametrize(
    "value",
    [
        f"{ONE}=studio",
        f"{OTHER}=studio",
        "sk-1=studio",
        "short=studio",
        f"studio={ONE},{OTHER}=archive",
    ],
)
def test_a_pair_the_wrong_way_about_never_makes_a_name_of_a_key(
    value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = refusal(monkeypatch, value)
    assert re.search(r"pair [12] has a key that could be a name: if it is key=name", said)
    for text in ("sk-1", "short", "studio", "archive"):
        assert text not in said


def test_every_fault_is_reported_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KIE_API_KEY", "single-0123456789-0123456789")
    said = refusal(monkeypatch, f"Studio={ONE},,b={OTHER},b={OTHER}")
    assert said.split("; ") == [
        f"pair 1 has a name that is none: {ACCOUNT_NAME_RULE}",
        "pair 2 is empty",
        "pairs 3 and 4 have the same name: each account has one of its own",
        "pairs 3 and 4 have the same key: each account has one of its own",
        "KIE_API_KEY is set as well: unset one of the two",
        "allowed are name=key pairs separated by commas",
    ]
    assert "single" not in said


def test_both_settings_at_once_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KIE_API_KEY", ONE)
    assert refusal(monkeypatch, f"studio={OTHER}").startswith("KIE_API_KEY is set as well")


def test_no_key_is_ever_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KIE_API_KEYS", f"studio={ONE},archive={OTHER}")
    settings = load_settings()
    shown = f"{settings!r} {settings} {settings.model_dump()} {settings.model_dump_json()}"
    shown += f"{settings.kie_keys!r} {[*map(str, settings.kie_keys)]}"
    assert ONE not in shown
    assert OTHER not in shown


def test_the_brake_of_the_single_account_stays_where_older_workers_have_it() -> None:
    assert brake_key("default") == "darkroom:brake"
    assert brake_key("studio") == "darkroom:brake:studio"
