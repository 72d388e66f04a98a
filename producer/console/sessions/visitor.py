"""The visitor of a page: the caller, the session, and the tokens of its forms."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from dataclasses import dataclass, field
from uuid import UUID

from producer.keys.key_store import Caller

_NONCE_BYTES = 12


@dataclass(frozen=True, slots=True)
class Visitor:
    """Who requests a page."""

    caller: Caller
    session_id: UUID | None
    """None if no API key exists and the request is a direct one of this machine."""
    form_secret: bytes = field(repr=False)
    """What form tokens are made from: the token of the session, or a secret of this process."""

    def make_form_token(self) -> str:
        """Return a token for a form. Each is different, so compressed pages do not reveal it."""
        nonce = secrets.token_hex(_NONCE_BYTES)
        return f"{nonce}.{self._sign(nonce)}"

    def accepts_form_token(self, token: str) -> bool:
        """Return whether the token was made for this session."""
        nonce, _, signature = token.partition(".")
        # Strangers send any text, and compare_digest accepts no other text than ASCII.
        return hmac.compare_digest(self._sign(nonce).encode(), signature.encode(errors="replace"))

    def _sign(self, nonce: str) -> str:
        message = b"form " + nonce.encode(errors="replace")
        return hmac.new(self.form_secret, message, hashlib.sha256).hexdigest()
