"""Loads Lua scripts that are part of a package."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from hashlib import sha1
from importlib.resources import files


@dataclass(frozen=True, slots=True)
class LuaScript:
    """A script and the digest that names it in `EVALSHA`."""

    source: str
    digest: str


@cache
def load_script(package: str, name: str) -> LuaScript:
    """Return the script `lua/<name>.lua` of that package. Each file is read once."""
    source = files(package).joinpath("lua", f"{name}.lua").read_text(encoding="utf-8")
    # Redis names scripts by SHA-1. The digest protects nothing.
    return LuaScript(source, sha1(source.encode(), usedforsecurity=False).hexdigest())
