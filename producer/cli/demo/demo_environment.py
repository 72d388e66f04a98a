"""The demo's own settings and environment: embedded servers always, whatever is configured."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dotenv import dotenv_values

from producer.cli.processes.service_commands import program_environ
from shared.settings import Settings

_IGNORED = ("DATABASE_URL", "REDIS_URL", "KIE_API_KEY", "KIE_API_KEYS")


def demo_settings(environ: Mapping[str, str]) -> Settings:
    """Return the default settings, with DARKROOM_HOME alone taken from the environment."""
    given = find_setting(environ, "DARKROOM_HOME")
    # Every field is handed in, so that none is read from the environment.
    values: dict[str, Any] = {
        name: field.get_default() for name, field in Settings.model_fields.items()
    }
    values["darkroom_home"] = Path(given or values["darkroom_home"]).resolve()
    return Settings(_env_file=None, **values)


def ignored_settings(environ: Mapping[str, str]) -> list[str]:
    """Return those settings that are given but that the demo leaves alone on purpose."""
    return [name for name in _IGNORED if find_setting(environ, name)]


def find_setting(environ: Mapping[str, str], name: str) -> str | None:
    """Return what the environment, or `.env` here, says under this name, in any case."""
    for source in (environ, dotenv_values(".env") if Path(".env").is_file() else {}):
        for key, value in source.items():
            if key.upper() == name and value:
                return value
    return None


def child_environ(settings: Settings, additions: Mapping[str, str]) -> dict[str, str]:
    """Return an environment without any setting but the demo's; run it outside this directory.

    A `.env` of the working directory would otherwise be read by the children.
    """
    names = {name.upper() for name in Settings.model_fields}
    cleaned = {name: value for name, value in os.environ.items() if name.upper() not in names}
    return program_environ(
        {
            **cleaned,
            "DARKROOM_HOME": str(settings.darkroom_home),
            "API_PORT": "0",
            "WORKER_HTTP_PORT": "0",
            "LOG_FORMAT": "json",
            **additions,
        }
    )
