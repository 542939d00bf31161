"""Find risky statements of an upgrade: they block other sessions, delete data, or break running code.

Reads the SQL text only, with the standard library.
Statements on a table that the same upgrade creates are ignored: the table is empty and no session uses it yet.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

_NAME = r'(?:"[^"]+"|\w+)(?:\.(?:"[^"]+"|\w+))?'
_RUNNING = re.compile(r"-- Running upgrade \S* -> (\S+)")
_CREATED = re.compile(rf"CREATE TABLE (?:IF NOT EXISTS )?({_NAME})", re.IGNORECASE)
_TABLE = re.compile(
    rf"(?:ALTER TABLE|DROP TABLE|TRUNCATE(?: TABLE)?|DELETE FROM|UPDATE)(?: IF EXISTS)?(?: ONLY)? ({_NAME})"
    rf"|CREATE (?:UNIQUE )?INDEX .*? ON (?:ONLY )?({_NAME})",
    re.IGNORECASE,
)
_LINE_COMMENT = re.compile(r"^\s*--.*$", re.MULTILINE)
_TEXT_CONSTANT = re.compile(r"'(?:[^']|'')*'")
_DOLLAR_QUOTED = re.compile(r"(\$\w*\$).*?\1", re.DOTALL)


@dataclass(frozen=True, slots=True)
class LintFinding:
    """A risky statement of a revision, with the reason and a remedy."""

    revision: str
    rule: str
    statement: str
    reason: str
    remedy: str


@dataclass(frozen=True, slots=True)
class Rule:
    """A pattern of risky statements; `unless` is a pattern of exceptions."""

    name: str
    pattern: str
    reason: str
    remedy: str
    unless: str = r"(?!)"

    def matches(self, statement: str) -> bool:
        """Return whether a statement matches. Its whitespace must be single spaces."""
        return bool(
            re.search(self.pattern, statement, re.IGNORECASE) and not re.search(self.unless, statement, re.IGNORECASE)
        )


RULES = (
    Rule("drops-table", r"^DROP TABLE\b", "its rows are lost", "Drop it when no version of the code needs it any more"),
    Rule(
        "drops-column",
        r"^ALTER TABLE .*\bDROP (COLUMN\b|(?!CONSTRAINT|DEFAULT|NOT|EXPRESSION|IDENTITY)\S)",
        "its values are lost, and running code still selects it",
        "Stop using it first, then drop it in a later revision",
        unless=r"\bALTER (COLUMN )?\S+ DROP (NOT NULL|DEFAULT|EXPRESSION|IDENTITY)",
    ),
    Rule("deletes-rows", r"^(DELETE FROM|TRUNCATE)\b", "rows are lost", "Explain in the revision why that is safe"),
    Rule("drops-schema", r"^DROP (SCHEMA|DATABASE|OWNED)\b", "everything in it is lost", "Drop its objects by name"),
    Rule(
        "changes-type",
        r"^ALTER TABLE .*\bALTER (COLUMN )?\S+ (SET DATA )?TYPE\b",
        "it blocks reads and writes while the table is rewritten, and breaks prepared plans",
        "Add a column of the new type, fill it in batches, then change the code to use it",
    ),
    Rule(
        "index-not-concurrent",
        r"^CREATE (UNIQUE )?INDEX\b",
        "it blocks writes to the table until the index is built",
        "Use postgresql_concurrently=True inside op.get_context().autocommit_block()",
        unless=r"\bCONCURRENTLY\b",
    ),
    Rule(
        "drops-index-not-concurrent",
        r"^DROP INDEX\b",
        "it waits for all running queries on the table, and blocks new ones",
        "Use postgresql_concurrently=True inside op.get_context().autocommit_block()",
        unless=r"\bCONCURRENTLY\b",
    ),
    Rule(
        "not-null-without-default",
        r"^ALTER TABLE .*\bADD (COLUMN )?(?!CONSTRAINT|CHECK|FOREIGN|UNIQUE|PRIMARY|EXCLUDE)\S+ .*\bNOT NULL\b",
        "it fails if the table has rows",
        "Add a server_default",
        unless=r"\b(DEFAULT|GENERATED|IDENTITY)\b",
    ),
    Rule(
        "sets-not-null",
        r"^ALTER TABLE .*\bALTER (COLUMN )?\S+ SET NOT NULL\b",
        "it blocks reads and writes while it scans the whole table",
        "Add CHECK (… IS NOT NULL) NOT VALID, validate it in a later revision, then set it",
    ),
    Rule(
        "constraint-not-valid",
        r"^ALTER TABLE .*\bADD (CONSTRAINT \S+ )?(CHECK|FOREIGN KEY)\b",
        "it blocks writes while it checks the whole table",
        "Add it NOT VALID, then VALIDATE CONSTRAINT in a later revision",
        unless=r"\bNOT VALID\b",
    ),
    Rule(
        "constraint-builds-index",
        r"^ALTER TABLE .*\bADD (CONSTRAINT \S+ )?(UNIQUE|PRIMARY KEY|EXCLUDE)\b",
        "it blocks reads and writes until the index is built",
        "Build a unique index CONCURRENTLY first, then ADD CONSTRAINT … USING INDEX",
        unless=r"\bUSING INDEX\b",
    ),
    Rule(
        "renames",
        r"^ALTER TABLE .*\bRENAME\b",
        "running code still uses the old name",
        "Add the new one first, and drop the old one in a later revision",
        unless=r"\bRENAME CONSTRAINT\b",
    ),
)


def lint_script(script: str) -> list[LintFinding]:
    """Return the findings for the statements of an upgrade, in the format of `migrate.sql`."""
    created: set[str] = set()
    findings = []
    for revision, statement in _statements(script):
        if match := _CREATED.match(statement):
            created.add(match[1])
        if _table(statement) not in created:
            findings += [
                LintFinding(revision, rule.name, statement, rule.reason, rule.remedy)
                for rule in RULES
                if rule.matches(_TEXT_CONSTANT.sub("''", statement))
            ]
    return findings


def _statements(script: str) -> Iterator[tuple[str, str]]:
    """Yield every statement with its revision. Replaces whitespace by single spaces."""
    parts = _RUNNING.split(script)[1:]
    for revision, body in zip(parts[::2], parts[1::2], strict=True):
        text = _DOLLAR_QUOTED.sub("''", _LINE_COMMENT.sub("", body))
        for statement in _TEXT_CONSTANT.sub(lambda match: match[0].replace(";", " "), text).split(";"):
            if shown := " ".join(statement.split()):
                yield revision, shown


def _table(statement: str) -> str | None:
    match = _TABLE.match(statement)
    return (match[1] or match[2]) if match else None
