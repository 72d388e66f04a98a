"""Each container gets only its own secrets. Images and actions are pinned."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from shared.settings import Settings

ROOT = Path(__file__).parents[2]
PASSWORDS: Mapping[str, frozenset[str]] = {
    "postgres": frozenset({"POSTGRES_PASSWORD"}),
    "valkey": frozenset({"VALKEY_PASSWORD"}),
    # It sets each login's password, and has ended before anything else begins.
    "roles": frozenset(
        {
            *("POSTGRES_PASSWORD", "DARKROOM_OWNER_PASSWORD", "DARKROOM_API_PASSWORD"),
            *("DARKROOM_WORKER_PASSWORD", "DARKROOM_ADMIN_PASSWORD"),
        }
    ),
    "migrate": frozenset({"DARKROOM_OWNER_PASSWORD"}),
    "api": frozenset({"DARKROOM_API_PASSWORD", "VALKEY_PASSWORD"}),
    "worker": frozenset({"DARKROOM_WORKER_PASSWORD", "VALKEY_PASSWORD"}),
    "admin": frozenset({"DARKROOM_ADMIN_PASSWORD"}),
    "simulator": frozenset(),
}
SECRETS: Mapping[str, frozenset[str]] = {
    "migrate": frozenset({"DATABASE_URL"}),
    "api": frozenset(
        {
            *("DATABASE_URL", "REDIS_URL", "METRICS_KEY", "KIE_UPLOAD_KEY"),
            *("ALL_PROXY", "HTTP_PROXY", "HTTPS_PROXY"),
        }
    ),
    "worker": frozenset(
        {
            *("DATABASE_URL", "REDIS_URL", "METRICS_KEY"),
            *("ALL_PROXY", "HTTP_PROXY", "HTTPS_PROXY"),
            *("KIE_API_KEY", "KIE_API_KEYS", "KIE_WEBHOOK_HMAC_KEY", "DATABASE_DIRECT_URL"),
        }
    ),
    "admin": frozenset({"DATABASE_URL"}),
    "simulator": frozenset(),
}
LOGINS = {
    "migrate": "darkroom_owner",
    "api": "darkroom_api_login",
    "worker": "darkroom_worker_login",
    "admin": "darkroom_admin_login",
}
_OF_ONE_PROCESS = frozenset(
    {
        *("API_HOST", "API_PORT", "WORKER_HTTP_HOST", "WORKER_HTTP_PORT", "DARKROOM_HOME"),
        *("CALLBACK_HTTP_HOST", "CALLBACK_HTTP_PORT", "OPENAI_WAIT_SECONDS"),
    }
)
BUCKET = {
    "AWS_ACCESS_KEY_ID",
    "AWS_ALLOW_HTTP",
    "AWS_ENDPOINT_URL",
    "AWS_REGION",
    "AWS_SECRET_ACCESS_KEY",
    "AZURE_STORAGE_ACCOUNT_KEY",
    "GOOGLE_SERVICE_ACCOUNT_KEY",
}
_DEFAULTS = {"RESULTS_URL": "file:///srv/images"}
_FOR_DRILLS = frozenset({"DARKROOM_CRASH_AT"})
_PINNED = re.compile(r"[a-z0-9./-]+:[a-z0-9.-]+@sha256:[0-9a-f]{64}")


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text("utf-8"))
    return loaded


@pytest.fixture(scope="module")
def services(compose: dict[str, Any]) -> dict[str, dict[str, Any]]:
    loaded: dict[str, dict[str, Any]] = compose["services"]
    return loaded


def secret_settings() -> frozenset[str]:
    """Return every setting that is a secret, by its name in the environment."""
    return frozenset(
        name.upper()
        for name, field in Settings.model_fields.items()
        if "SecretStr" in str(field.annotation)
    )


def passwords_in(value: object) -> frozenset[str]:
    """Return the passwords of `.env` that stand anywhere in a part of the file."""
    return frozenset(re.findall(r"\$\{(\w+_PASSWORD)\b", str(value)))


def test_each_service_is_handed_its_own_passwords_alone(
    compose: dict[str, Any], services: dict[str, dict[str, Any]]
) -> None:
    configs = {
        name: {config["source"] for config in service.get("configs", [])}
        for name, service in services.items()
    }
    handed = {
        name: passwords_in(service)
        | passwords_in([compose["configs"][config] for config in configs[name]])
        for name, service in services.items()
    }
    assert handed == PASSWORDS


def test_no_service_is_handed_the_whole_of_env(services: dict[str, dict[str, Any]]) -> None:
    assert [name for name, service in services.items() if "env_file" in service] == []


def test_each_service_is_handed_its_own_secret_settings_alone(
    services: dict[str, dict[str, Any]],
) -> None:
    secret = secret_settings()
    assert secret >= {"DATABASE_URL", "REDIS_URL", "KIE_API_KEY", "KIE_API_KEYS"}
    assert secret == frozenset().union(*SECRETS.values())
    handed = {name: frozenset(services[name].get("environment", {})) & secret for name in SECRETS}
    assert handed == SECRETS


def test_every_other_setting_reaches_the_api_and_the_workers(
    services: dict[str, dict[str, Any]],
) -> None:
    plain = {name.upper() for name in Settings.model_fields} - secret_settings() - _FOR_DRILLS
    for name, ours in (("api", ("API_", "OPENAI_")), ("worker", ("WORKER_HTTP_", "CALLBACK_"))):
        handed = set(services[name]["environment"]) - SECRETS[name] - BUCKET
        of_it = {one for one in _OF_ONE_PROCESS if one.startswith(ours)}
        assert handed == (plain - _OF_ONE_PROCESS) | of_it, name
        fixed = {"LOG_FORMAT", *of_it} - {"OPENAI_WAIT_SECONDS"}
        for setting in handed - fixed:
            default = _DEFAULTS.get(setting, "")
            assert services[name]["environment"][setting] == f"${{{setting}:-{default}}}"


def test_every_service_with_a_database_is_told_its_schema(
    services: dict[str, dict[str, Any]],
) -> None:
    told = {
        name: service["environment"].get("DATABASE_SCHEMA")
        for name, service in services.items()
        if "DATABASE_URL" in service.get("environment", {})
    }
    assert told == dict.fromkeys(LOGINS, "${DATABASE_SCHEMA:-}")


def test_who_uses_the_store_of_images_is_handed_what_its_client_reads(
    services: dict[str, dict[str, Any]],
) -> None:
    for name, service in services.items():
        environment = service.get("environment", {})
        uses_it = "RESULTS_URL" in environment
        assert uses_it is (name in {"api", "worker", "admin"})
        assert uses_it is ("images:/srv/images" in service.get("volumes", []))
        # Empty in the file means as in .env, and unset where it is not there.
        handed = {one: value for one, value in environment.items() if one in BUCKET}
        assert handed == (dict.fromkeys(BUCKET) if uses_it else {})


@pytest.mark.parametrize(("name", "login"), LOGINS.items())
def test_each_service_connects_as_a_login_of_its_own(
    name: str, login: str, services: dict[str, dict[str, Any]]
) -> None:
    assert services[name]["environment"]["DATABASE_URL"].startswith(f"postgresql://{login}:")
    assert f"('{login}'," in (ROOT / "deploy/roles.sql").read_text("utf-8")


def test_what_must_be_given_is_what_the_script_prints(compose: dict[str, Any]) -> None:
    text = (ROOT / "docker-compose.yml").read_text("utf-8")
    required = set(re.findall(r"\$\{(\w+):\?run deploy/secrets >> \.env\}", text))
    assert required == passwords_in(compose)
    assert not re.findall(r"\$\{(\w+)\}", text)
    printed = [dict(line.split("=") for line in run_secrets().splitlines()) for _ in range(2)]
    assert set(printed[0]) == required
    values = [value for one in printed for value in one.values()]
    assert len(set(values)) == len(values)
    # As they are in URLs and in a line of options.
    assert all(re.fullmatch(r"[0-9a-f]{48}", value) for value in values)


def run_secrets() -> str:
    return subprocess.run(
        [str(ROOT / "deploy/secrets")], check=True, capture_output=True, text=True, timeout=10
    ).stdout


def test_valkey_asks_for_a_password(
    compose: dict[str, Any], services: dict[str, dict[str, Any]]
) -> None:
    lines = compose["configs"]["valkey"]["content"].splitlines()
    assert [line.partition(":")[0] for line in lines if line.startswith("requirepass ")] == [
        "requirepass ${VALKEY_PASSWORD"
    ]
    assert "PONG" in " ".join(services["valkey"]["healthcheck"]["test"])
    for name in ("api", "worker"):
        assert services[name]["environment"]["REDIS_URL"].startswith("redis://:${VALKEY_PASSWORD:")


def test_every_image_that_is_not_built_here_is_pinned_by_digest(
    services: dict[str, dict[str, Any]],
) -> None:
    images = {one["image"] for one in services.values() if "build" not in one}
    dockerfile = (ROOT / "Dockerfile").read_text("utf-8")
    images |= set(re.findall(r"^ARG \w*IMAGE=(\S+)$", dockerfile, re.MULTILINE))
    assert len(images) == 3
    assert [image for image in images if not _PINNED.fullmatch(image)] == []
    sources = re.findall(r"^FROM (\S+)", dockerfile, re.MULTILINE)
    assert set(sources) == {"${PYTHON_IMAGE}"}
    # A frontend named here would be one more image.
    assert "# syntax=" not in dockerfile


def test_every_action_is_pinned_to_a_commit_and_says_its_version() -> None:
    text = (ROOT / ".github/workflows/ci.yml").read_text("utf-8")
    used = re.findall(r"uses: (.+)$", text, re.MULTILINE)
    assert used
    pinned = re.compile(r"[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+")
    assert [action for action in used if not pinned.fullmatch(action)] == []
    steps = yaml.safe_load(text)["jobs"]["test"]["steps"]
    assert [step["run"] for step in steps if "run" in step] == [".ci/run"]
