"""Which URLs Kie may be asked to fetch: public ones, judged by their text alone.

Nothing is resolved here, so a public name that points at a private address passes. What is
refused could not work (Kie is outside), or could point Kie at its own insides.
"""

from __future__ import annotations

from shared.domain.public_addresses import find_url_fault

URL_LENGTH_MAX = 2048


def check_public_url(value: object) -> str:
    """Return the URL unchanged, or raise `ValueError` with a sentence saying what is wrong.

    The sentence never repeats more than the host: a signed URL's query is a secret.
    """
    if not isinstance(value, str):
        raise ValueError("must be text: a public http:// or https:// URL")
    if not value:
        raise ValueError("is empty; give a public http:// or https:// URL")
    if len(value) > URL_LENGTH_MAX:
        raise ValueError(f"is {len(value)} characters long; at most {URL_LENGTH_MAX} are allowed")
    fault = find_url_fault(value, allow_loopback=False)
    if fault is not None:
        raise ValueError(fault)
    return value
