"""Which fields of each kind of record a terminal shows, and how."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Column:
    """How a field is shown on a terminal; the widest one gives way when there is no room."""

    field: str
    header: str = ""
    kind: str = "text"  # text, state, age, number, bytes, share
    flexible: bool = False

    @property
    def title(self) -> str:
        return self.header or self.field.replace("_", " ")


TODO = (
    Column("id", kind="number"),
    Column("state", kind="state"),
    Column("title", flexible=True),
    Column("updated_at", "updated", kind="age"),
)
USER = (
    Column("id", kind="number"),
    Column("username"),
    Column("email", flexible=True),
    Column("created_at", "created", kind="age"),
)
INVITATION = (Column("code", flexible=True), Column("expires_at", "expires"))
SERVICE = (
    Column("service"),
    Column("state", kind="state"),
    Column("address"),
    Column("version"),
    Column("revision"),
    Column("pid", kind="number"),
    Column("started_at", "up for", kind="age"),
    Column("detail", flexible=True),
)
PROJECT = (
    Column("project"),
    Column("runtime"),
    Column("state", kind="state"),
    Column("address"),
    Column("folder", flexible=True),
)
ACTION = (Column("verb"), Column("kind", "what"), Column("name"), Column("cause", flexible=True))
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
    Column("taken_at", "taken", kind="age"),
    Column("database"),
    Column("revision"),
    Column("rows", kind="number"),
    Column("size", kind="bytes"),
    Column("problem", flexible=True),
)
KEPT = (Column("database"), Column("kept_at", "kept", kind="age"), Column("size", kind="bytes"))
PLACE = (
    Column("name", flexible=True),
    Column("current", "in service"),
    Column("runtime"),
    Column("image"),
    Column("others"),
)
RESTORED = (Column("database"), Column("revision"), Column("rows", kind="number"), Column("kept", flexible=True))
STATS = (
    Column("size", kind="bytes"),
    Column("oldest_transaction", "oldest transaction"),
    Column("bloat", kind="bytes"),
    Column("cache_hits", kind="share"),
    Column("taken_at", kind="age"),
)
TABLE = (
    Column("table"),
    Column("rows", kind="number"),
    Column("size", kind="bytes"),
    Column("bloat", kind="bytes"),
    Column("index_use", "by index", kind="share"),
)
INDEX = (Column("index"), Column("table"), Column("size", kind="bytes"), Column("scans", kind="number"))
LINT = (Column("revision"), Column("rule"), Column("statement", flexible=True), Column("remedy"))
FINDING = (Column("code"), Column("result", kind="state"), Column("found", flexible=True), Column("remedy"))
