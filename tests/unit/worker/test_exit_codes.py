"""A worker ends with the exit codes of the command line."""

from __future__ import annotations

import pytest

from worker.__main__ import main


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("WORKER_DATABASE_CONNECTIONS", "1"),
        ("DATABASE_URL", "postgresql://app@localhost/app?sslmod=require"),
        ("REDIS_URL", "redis://localhost/0?ssl_check_hostnam=false"),
    ],
)
def test_a_worker_with_an_impossible_setting_ends_with_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    assert main() == 2
    assert name in capsys.readouterr().err
