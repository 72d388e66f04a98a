"""The TLS options of a Redis URL, by the names that redis-py has for them."""

from __future__ import annotations

import os
import ssl
from collections.abc import Mapping
from dataclasses import dataclass

TRUE, _FALSE = frozenset({"true", "1", "yes"}), frozenset({"false", "0", "no"})
_VERIFY = {
    "required": True,
    "cert_required": True,
    "none": False,
    "cert_none": False,
}
NAMES = frozenset(
    {
        "ssl_ca_certs",
        "ssl_ca_path",
        "ssl_certfile",
        "ssl_keyfile",
        "ssl_password",
        "ssl_check_hostname",
        "ssl_cert_reqs",
    }
)


@dataclass(frozen=True, slots=True)
class TlsOptions:
    """How the server is verified, and which certificate is shown to it."""

    ca_file: str | None = None
    """Certificates of the authorities that are trusted. Default: those of the system."""
    ca_folder: str | None = None
    """A folder of them, as `openssl rehash` names the files."""
    certificate_file: str | None = None
    key_file: str | None = None
    key_password: str | None = None
    is_verified: bool = True
    """Whether the certificate of the server must be signed by such an authority."""
    checks_hostname: bool = True
    """Whether it must have been issued for the host of the URL."""

    def open_context(self) -> ssl.SSLContext:
        """Return the context of connections. Raises `ValueError` for a file that is no use."""
        try:
            context = ssl.create_default_context(cafile=self.ca_file, capath=self.ca_folder)
        except OSError as error:
            raise ValueError(
                f"{self._authorities} cannot be read as certificates in PEM format:"
                f" {_reason(error)}"
            ) from None
        context.check_hostname = self.checks_hostname
        context.verify_mode = ssl.CERT_REQUIRED if self.is_verified else ssl.CERT_NONE
        if self.certificate_file is not None:
            try:
                # Without a password the library would ask for one on the terminal.
                password = self.key_password or ""
                context.load_cert_chain(self.certificate_file, self.key_file, password)
            except OSError as error:
                raise ValueError(
                    f"ssl_certfile={self.certificate_file!r:.200} and its key cannot be used:"
                    f" {_reason(error)}"
                ) from None
        return context

    @property
    def _authorities(self) -> str:
        if self.ca_file is not None:
            return f"ssl_ca_certs={self.ca_file!r:.200}"
        return f"ssl_ca_path={self.ca_folder!r:.200}"


def read_tls_options(options: Mapping[str, str]) -> TlsOptions:
    """Parse the options of a URL. Raises `ValueError` with a message without passwords."""
    verify = options.get("ssl_cert_reqs", "required").lower()
    if verify not in _VERIFY:
        raise ValueError(f"ssl_cert_reqs is required or none, not {verify!r:.40}")
    folder = options.get("ssl_ca_path")
    if folder is not None and not os.path.isdir(folder):
        raise ValueError(f"ssl_ca_path={folder!r:.200} is no folder")
    if "ssl_keyfile" in options and "ssl_certfile" not in options:
        raise ValueError("ssl_keyfile needs ssl_certfile, the certificate of that key")
    is_verified = _VERIFY[verify]
    return TlsOptions(
        ca_file=options.get("ssl_ca_certs"),
        ca_folder=folder,
        certificate_file=options.get("ssl_certfile"),
        key_file=options.get("ssl_keyfile"),
        key_password=options.get("ssl_password"),
        is_verified=is_verified,
        # Without a verified certificate its name proves nothing.
        checks_hostname=_read_flag(options, "ssl_check_hostname") and is_verified,
    )


def _read_flag(options: Mapping[str, str], name: str) -> bool:
    value = options.get(name, "true").lower()
    if value not in TRUE | _FALSE:
        raise ValueError(f"{name} is true or false, not {value!r:.40}")
    return value in TRUE


def _reason(error: OSError) -> str:
    if isinstance(error, ssl.SSLError):
        return error.reason.replace("_", " ").lower() if error.reason else "no certificate in it"
    return error.strerror or type(error).__name__
