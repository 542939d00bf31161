"""Define the fields of each kind of record that a terminal shows, and their form."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Column:
    """How a terminal shows a field. A flexible column gets narrower if the table does not fit: its texts are cut.

    With `whole` they are wrapped instead, since a person must read all of them.
    """

    field: str
    header: str = ""
    kind: str = "text"
    """text, state, priority, due, age, duration, until, number, count, bytes or share; a note stands below its row."""
    flexible: bool = False
    whole: bool = False
    spare: bool = False  # left out first if the table does not fit

    @property
    def title(self) -> str:
        return self.header or self.field.removesuffix("_at").replace("_", " ")


TODO = (
    Column("id", kind="number"),
    Column("state", kind="state"),
    Column("priority", kind="priority"),
    Column("title", flexible=True),
    Column("due", kind="due"),
    Column("tags", spare=True),
    Column("updated_at", kind="age", spare=True),
)
TODO_IN_LISTS = (*TODO[:-1], Column("list", spare=True), TODO[-1])
LIST = (
    Column("id", kind="number"),
    Column("name", flexible=True),
    Column("owner"),
    Column("role"),
    Column("members", kind="count"),
    Column("created_at", kind="age", spare=True),
)
MEMBER = (Column("id", kind="number"), Column("username", flexible=True), Column("role"))
ENTRY = (
    Column("entry", kind="number"),
    Column("at", kind="age"),
    Column("added", kind="count"),
    Column("changed", kind="count"),
    Column("removed", kind="count"),
    Column("title", flexible=True),
    Column("by", spare=True),
    Column("undone"),
)
USER = (
    Column("id", kind="number"),
    Column("username"),
    Column("email", flexible=True),
    Column("created_at", kind="age", spare=True),
)
INVITATION = (Column("code", flexible=True), Column("expires_at", kind="until"))
CALENDAR = (Column("path", flexible=True, whole=True), Column("created_at", kind="age"))
CALENDAR_STATE = (Column("created_at", kind="age"),)
SERVICE = (
    Column("service"),
    Column("state", kind="state"),
    Column("address"),
    Column("version", spare=True),
    Column("revision", spare=True),
    Column("pid", kind="number", spare=True),
    Column("started_at", "up for", kind="duration"),
    Column("detail", kind="note"),
)
DEPLOYED = (
    Column("service"),
    Column("state", kind="state"),
    Column("running"),
    Column("address"),
    Column("version", spare=True),
    Column("revision", spare=True),
    Column("nodes", flexible=True),
    Column("update", spare=True),
    Column("detail", kind="note"),
)
TASK = (
    Column("task"),
    Column("state", kind="state"),
    Column("node"),
    Column("since", "for", kind="duration"),
    Column("detail", kind="note"),
)
SERVER = (
    Column("name", "server"),
    Column("role"),
    Column("state", kind="state"),
    Column("timeline", kind="number"),
    Column("lag", kind="bytes"),
    Column("is_synchronous", "confirms"),
    Column("needs_restart", spare=True),
)
NODE = (
    Column("node"),
    Column("state", kind="state"),
    Column("availability", spare=True),
    Column("role"),
    Column("address"),
    Column("has_data", "has the data"),
    Column("detail", kind="note"),
)
PROJECT = (
    Column("project"),
    Column("runtime", spare=True),
    Column("state", kind="state"),
    Column("address"),
    Column("folder", flexible=True, spare=True),
)
ACTION = (Column("verb"), Column("kind", "what"), Column("name"), Column("cause", flexible=True, whole=True))
REVISION = (
    Column("revision"),
    Column("down_revision", "after"),
    Column("state", kind="state"),
    Column("message", flexible=True),
)
APPLIED = (Column("current"), Column("head"), Column("pending"), Column("drift", flexible=True))
ORIGIN = (Column("name", "setting"), Column("value", flexible=True), Column("source"), Column("trusted"))
RISKY = (
    Column("name", "setting"),
    Column("value", flexible=True),
    Column("file"),
    Column("line", kind="number"),
    Column("risk"),
    Column("change"),
)
BACKUP = (
    Column("name"),
    Column("taken_at", kind="age"),
    Column("database", spare=True),
    Column("revision", spare=True),
    Column("tables", kind="count", spare=True),
    Column("rows", kind="count"),
    Column("size", kind="bytes"),
    Column("problem", kind="note"),
)
ARCHIVED = (
    Column("url", flexible=True),
    Column("server"),
    Column("system", spare=True),
    Column("keep"),
    Column("max_kept", kind="bytes"),
)
ARCHIVE = (
    Column("archive", flexible=True),
    Column("state", kind="state"),
    Column("waiting", kind="count"),
    Column("waiting_bytes", "size", kind="bytes"),
    Column("lag_seconds", "lag"),
    Column("last_archived_at", kind="age"),
    Column("backups", kind="count"),
    Column("backup_age_seconds", "backup age"),
    Column("detail", kind="note"),
)
BASE_BACKUP = (
    Column("id"),
    Column("begun", spare=True),
    Column("ended", kind="age"),
    Column("begin_wal", "first segment", spare=True),
    Column("size", kind="bytes"),
)
KEPT = (Column("database"), Column("kept_at", kind="age"), Column("size", kind="bytes"))
PLACE = (
    Column("name", flexible=True),
    Column("current", "in service"),
    Column("runtime"),
    Column("image"),
    Column("servers"),
    Column("others"),
)
RESTORED = (Column("database"), Column("revision"), Column("rows", kind="count"), Column("kept", flexible=True))
STATS = (
    Column("size", kind="bytes"),
    Column("oldest_transaction", "oldest transaction"),
    Column("bloat", kind="bytes"),
    Column("cache_hits", kind="share"),
    Column("taken_at", kind="age"),
)
TABLE = (
    Column("table"),
    Column("rows", kind="count"),
    Column("size", kind="bytes"),
    Column("bloat", kind="bytes"),
    Column("index_use", "index use", kind="share"),
)
INDEX = (Column("index"), Column("table"), Column("size", kind="bytes"), Column("scans", kind="count"))
LINT = (Column("revision"), Column("rule"), Column("statement", flexible=True), Column("remedy", kind="note"))
FINDING = (
    Column("code"),
    Column("result", kind="state"),
    Column("found", flexible=True, whole=True),
    Column("remedy", kind="note"),
)
