"""Log lines of a process: valid JSON, one per event, and never the key."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import orjson

ROOT = Path(__file__).parents[3]
KEY = "kie-key-0123456789abcdef"

PROGRAM = """
import asyncio, logging, structlog
from pydantic import SecretStr
from shared.adapters.log_setup import set_up_logging
from shared.catalog import get_family
from shared.catalog.families.gpt4o_image import TextToImage
from shared.settings import load_settings
from worker.kie.kie_client import KieClient

settings = load_settings()
set_up_logging(settings)
log = structlog.get_logger("room")
log.info("plain", number=1, text="two\\nlines", odd=object())
log.warning("settings", settings=settings, key=settings.kie_api_key)
logging.getLogger("library").warning("from a %s", "library")
logging.getLogger("arq.worker").info("arq's chatter")
try:
    raise ValueError("a bug")
except ValueError:
    log.exception("step_failed")

async def ask():
    async with KieClient(base_url="http://127.0.0.1:9", api_key=settings.kie_api_key,
                         timeout_seconds=2) as kie:
        request = TextToImage(prompt="x", aspect_ratio="1:1")
        log.error("refused", verdict=await kie.submit(get_family(request.model), request,
                  callback_url=None), client=kie)

asyncio.run(ask())
"""


def lines_of(log_format: str, level: str = "INFO") -> list[str]:
    """Return what the program writes to stderr."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        cwd=ROOT,
        env={"KIE_API_KEY": KEY, "LOG_FORMAT": log_format, "LOG_LEVEL": level},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    return done.stderr.splitlines()


def test_json_lines_are_valid_and_never_hold_the_key() -> None:
    lines = lines_of("json")
    said = [orjson.loads(line) for line in lines]
    events = [line["event"] for line in said]
    assert events == ["plain", "settings", "from a library", "step_failed", "refused"]
    assert all({"level", "timestamp", "logger"} <= set(line) for line in said)
    assert said[0]["text"] == "two\nlines"
    assert "ValueError: a bug" in said[3]["exception"]
    assert KEY not in "\n".join(lines)


def test_console_lines_never_hold_the_key_either() -> None:
    text = "\n".join(lines_of("console"))
    assert "step_failed" in text
    assert KEY not in text


def test_the_level_is_kept() -> None:
    said = [orjson.loads(line)["event"] for line in lines_of("json", "ERROR")]
    assert said == ["step_failed", "refused"]
