"""Errors of servers that cannot serve now, and of settings that an operator must change."""

from __future__ import annotations

from shared.errors.darkroom_error import DarkroomError


class DependencyDown(DarkroomError):
    """A server that Darkroom needs cannot serve the call now. The call can be retried later."""

    code = "dependency_down"


_LOGIN_REFUSED = frozenset({"28000", "28P01", "3D000"})
"""No right to log in, a wrong password, no such database."""


class PostgresDown(DependencyDown):
    """Postgres does not reply, or replies that it cannot run the statement now.

    With a `sqlstate` nothing was stored, except for classes 08 and 57P and for 40003. Without a
    `sqlstate` the statement may have been committed before its reply was lost.
    """

    code = "postgres_down"

    def __init__(self, message: str, *, sqlstate: str | None = None) -> None:
        self.sqlstate = sqlstate
        super().__init__(message)


class DatabaseUrlRefused(PostgresDown):
    """A parameter of `DATABASE_URL`, or a file that it names, cannot be used.

    At start the operator must change it. A process that runs tries again, because a certificate
    that is being replaced is missing only for a moment.
    """

    code = "database_url_refused"


class RedisDown(DependencyDown):
    """Redis or Valkey does not reply, or replies that it cannot run the command now.

    Jobs are stored in Postgres and continue when Redis is available again.
    """

    code = "redis_down"


class ResultsStoreDown(DependencyDown):
    """The store of RESULTS_URL does not answer, or refuses, such as a full disk."""

    code = "results_store_down"


class RowBusy(DependencyDown):
    """Another session holds a lock that the call needs. Nothing was stored."""

    code = "row_busy"

    def __init__(
        self, what: str, *, wait_seconds: float = 1.0, sqlstate: str | None = None
    ) -> None:
        """`what` names the row. `sqlstate` is None if a check found the lock beforehand."""
        self.what, self.wait_seconds, self.sqlstate = what, wait_seconds, sqlstate
        super().__init__(f"{what} is locked by another session; nothing was stored")


class UploadFailed(DependencyDown):
    """Kie's file upload host did not take a file, or did not answer. The call can be repeated."""

    code = "upload_failed"


class ConfigurationError(DarkroomError):
    """The operator must change something before Darkroom can start."""

    code = "configuration"


class SettingsRefused(ConfigurationError):
    """Variables of the environment or of `.env` have impossible values. All are listed."""

    code = "settings_refused"


class UploadsNotConfigured(ConfigurationError):
    """This process has no key for Kie's file upload host."""

    code = "uploads_not_configured"

    def __init__(self) -> None:
        super().__init__(
            "this process cannot upload files: set KIE_UPLOAD_KEY for it, a key of the Kie account"
            " that may spend nothing"
        )


def names_wrong_setting(error: DarkroomError) -> bool:
    """Return whether an operator must change a setting: at start, to wait is no use.

    A login that Postgres refuses is one. A process that runs tries again, because a password that
    is being replaced is wrong for a moment.
    """
    if isinstance(error, PostgresDown) and error.sqlstate in _LOGIN_REFUSED:
        return True
    return isinstance(error, SettingsRefused | DatabaseUrlRefused)


class SchemaOutdated(ConfigurationError):
    """The schema of the database is not the one that this version of Darkroom needs."""

    code = "schema_outdated"


class MigrationFailed(ConfigurationError):
    """A migration was refused. It changed nothing, because each migration is one transaction."""

    code = "migration_failed"


class EmbeddedServerError(ConfigurationError):
    """Postgres or Valkey could not be found or started on this machine."""

    code = "embedded_server"
