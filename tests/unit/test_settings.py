"""The settings: defaults, what is refused and how, and that no secret is ever shown."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr, ValidationError

from shared.errors import ConfigurationError
from shared.settings import Settings, load_settings

ROOT = Path(__file__).parents[2]
SECRETS = {
    "DATABASE_URL": "postgresql://ann:hush-1@db.example/darkroom",
    "REDIS_URL": "redis://:hush-2@redis.example:6379/0",
    "KIE_API_KEY": "hush-3",
    "KIE_WEBHOOK_HMAC_KEY": "hush-4",
}


# As the application has it; the suite's own fixtures switch it off for every other test.
ENV_FILE = Settings.model_config["env_file"]


@pytest.fixture(autouse=True)
def _bare_environment(
    clean_environment: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(Settings.model_config, "env_file", ENV_FILE)
    # Outside the project folder, which may contain a developer's .env.
    monkeypatch.chdir(tmp_path)


def shown_default(value: Any) -> str:
    """Return a default as one would write it into .env."""
    if value is None:
        return ""
    return f"{value:g}" if isinstance(value, float) else str(value)


def test_the_example_file_lists_every_setting_with_its_default() -> None:
    text = (ROOT / ".env.example").read_text(encoding="utf-8")
    listed = dict(re.findall(r"^#?([A-Z][A-Z0-9_]*)=(.*)$", text, re.MULTILINE))
    assert listed == {
        name.upper(): shown_default(field.default) for name, field in Settings.model_fields.items()
    }


def test_the_example_file_sets_nothing(tmp_path: Path) -> None:
    example = (ROOT / ".env.example").read_text(encoding="utf-8")
    (tmp_path / ".env").write_text(example, encoding="utf-8")
    assert load_settings() == Settings()
    assert not re.findall(r"^[A-Z]", example, re.MULTILINE)


def test_the_example_file_with_every_line_uncommented_is_the_default(tmp_path: Path) -> None:
    defaults = load_settings()
    example = (ROOT / ".env.example").read_text(encoding="utf-8")
    (tmp_path / ".env").write_text(
        re.sub(r"^#([A-Z])", r"\1", example, flags=re.MULTILINE), encoding="utf-8"
    )
    assert load_settings() == defaults


@pytest.mark.parametrize("name", [name.upper() for name in Settings.model_fields])
def test_an_empty_value_means_unset(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "")
    assert load_settings() == Settings.model_construct()


def test_the_environment_wins_over_the_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / ".env").write_text("API_PORT=1111\nWORKER_HTTP_PORT=2222\n", encoding="utf-8")
    monkeypatch.setenv("API_PORT", "3333")
    settings = load_settings()
    assert (settings.api_port, settings.worker_http_port) == (3333, 2222)


def test_unknown_names_in_the_file_are_ignored(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("POSTGRES_PASSWORD=x\n", encoding="utf-8")
    assert load_settings() == Settings.model_construct()


def test_one_error_lists_every_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    faults = {
        "DATABASE_URL": "mysql://ann:hush-1@db.example/darkroom",
        "REDIS_URL": "http://:hush-2@redis.example",
        "KIE_BASE_URL": "api.kie.ai",
        "KIE_POLLS_PER_SECOND_PER_TASK": "4",
        "CHARGE_BASIS": "whichever",
        "JOB_DEADLINE_SECONDS": "0",
        "API_PORT": "65536",
        "LOG_LEVEL": "LOUD",
    }
    for name, value in faults.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigurationError) as caught:
        load_settings()
    lines = str(caught.value).splitlines()[1:]
    assert [line.strip().partition(":")[0] for line in lines] == list(faults)
    assert "hush" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value", "fault"),
    [
        ("WORKER_DATABASE_CONNECTIONS", "1", "must be greater than or equal to 2, not '1'"),
        ("API_PORT", "99999", "must be less than or equal to 65535, not '99999'"),
        ("API_PORT", "80 80", "must be a valid integer, not '80 80'"),
        ("DATABASE_STATEMENT_CACHE", "maybe", "must be 'auto', 'on' or 'off', not 'maybe'"),
        ("WEBHOOKS_ALLOW_LOOPBACK", "ja", "must be a valid boolean, not 'ja'"),
    ],
)
def test_a_value_out_of_range_is_shown_with_what_is_allowed(
    name: str, value: str, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigurationError) as refused:
        load_settings()
    assert f"{name}: {fault}" in str(refused.value).splitlines()[1]


def test_the_error_of_a_wrong_url_says_what_is_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "mysql://db.example/darkroom")
    with pytest.raises(ConfigurationError, match="postgresql://, postgres://"):
        load_settings()


@pytest.mark.parametrize("value", ["4", "0", "-1", "3.5", "many"])
def test_a_poll_rate_outside_of_1_to_3_is_refused(
    value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KIE_POLLS_PER_SECOND_PER_TASK", value)
    with pytest.raises(ConfigurationError, match="KIE_POLLS_PER_SECOND_PER_TASK"):
        load_settings()


@pytest.mark.parametrize("value", ["1", "2", "3"])
def test_a_poll_rate_may_be_lowered(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KIE_POLLS_PER_SECOND_PER_TASK", value)
    assert load_settings().kie_polls_per_second_per_task == int(value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DATABASE_URL", "postgresql://darkroom@%2Frun%2Fsockets/darkroom"),
        ("DATABASE_URL", "postgres://db.example/darkroom"),
        ("REDIS_URL", "unix:///run/valkey.sock"),
        ("REDIS_URL", "rediss://redis.example:6380/1"),
    ],
)
def test_sockets_and_every_documented_scheme_are_taken(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    given: SecretStr = getattr(load_settings(), name.lower())
    assert given.get_secret_value() == value


def test_a_trailing_slash_of_an_address_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KIE_CALLBACK_URL", "https://hooks.example/")
    assert load_settings().kie_callback_url == "https://hooks.example"


def test_secrets_are_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    settings = load_settings()
    shown = f"{settings!r} {settings} {settings.model_dump()} {settings.model_dump_json()}"
    assert "hush" not in shown
    assert "api.kie.ai" in shown


def test_settings_do_not_change_once_read() -> None:
    settings = load_settings()
    with pytest.raises(ValidationError, match="frozen"):
        settings.api_port = 1  # type: ignore[misc]


def test_a_wrong_receiver_of_webhooks_is_named_at_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEBHOOKS_ALLOW", "billing,http://hooks.lan/,10.0.0.5/8")
    with pytest.raises(ConfigurationError) as raised:
        load_settings()
    assert (
        "WEBHOOKS_ALLOW: 'http://hooks.lan/' is a URL: write its host alone;"
        " '10.0.0.5/8' has bits beyond its prefix: write 10.0.0.0/8"
    ) in str(raised.value)


@pytest.mark.parametrize(
    ("given", "base"),
    [
        ("https://hooks.example/y/?token=z/", "https://hooks.example/y/?token=z/"),
        ("https://hooks.example/y/#top", "https://hooks.example/y"),
        ("https://hooks.example?", "https://hooks.example"),
    ],
)
def test_the_query_of_the_callback_url_is_kept(
    given: str, base: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KIE_CALLBACK_URL", given)
    assert load_settings().kie_callback_url == base


@pytest.mark.parametrize(
    ("host", "fault"),
    [
        ("localhost:8081", "points at 'localhost', which is not public"),
        ("192.168.1.4", "points at 192.168.1.4, which is not public"),
        ("worker", "points at 'worker', which is not public"),
        ("ann:word@hooks.example", "must not contain a user name or password before the host"),
    ],
)
def test_kie_is_not_told_to_call_an_address_that_it_cannot_reach(
    host: str, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KIE_CALLBACK_URL", f"https://{host}/?token=hush")
    monkeypatch.setenv("KIE_API_KEY", "hush")
    with pytest.raises(ConfigurationError, match=f"KIE_CALLBACK_URL: {fault}") as raised:
        load_settings()
    assert "hush" not in str(raised.value)
    assert "WEBHOOKS_ALLOW" not in str(raised.value)


def test_a_simulated_kie_may_call_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KIE_CALLBACK_URL", "http://127.0.0.1:8081")
    assert load_settings().kie_callback_url == "http://127.0.0.1:8081"
    monkeypatch.setenv("KIE_API_KEY", "a-key")
    monkeypatch.setenv("KIE_BASE_URL", "http://127.0.0.1:9000")
    assert load_settings().kie_callback_url == "http://127.0.0.1:8081"
