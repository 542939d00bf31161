"""What an upgrade's statements lock or lose, told from the statements alone. Pure, standard library only.

A table that the same upgrade creates is empty, and nobody waits for it: what happens to it is no matter.
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
    """One statement of a revision that locks or loses something, and what to do instead."""

    revision: str
    rule: str
    statement: str
    reason: str
    remedy: str


@dataclass(frozen=True, slots=True)
class Rule:
    """A pattern of statements that lock or lose something; `unless` excepts those that do not."""

    name: str
    pattern: str
    reason: str
    remedy: str
    unless: str = r"(?!)"

    def matches(self, statement: str) -> bool:
        """Whether a statement, its spaces single, is one of them."""
        return bool(
            re.search(self.pattern, statement, re.IGNORECASE) and not re.search(self.unless, statement, re.IGNORECASE)
        )


RULES = (
    Rule("drops-table", r"^DROP TABLE\b", "its rows are lost", "Drop it once no version of the code needs it"),
    Rule(
        "drops-column",
        r"^ALTER TABLE .*\bDROP (COLUMN\b|(?!CONSTRAINT|DEFAULT|NOT|EXPRESSION|IDENTITY)\S)",
        "its values are lost, and code that runs still selects it",
        "First stop using it, then drop it in a later revision",
        unless=r"\bALTER (COLUMN )?\S+ DROP (NOT NULL|DEFAULT|EXPRESSION|IDENTITY)",
    ),
    Rule("deletes-rows", r"^(DELETE FROM|TRUNCATE)\b", "rows are lost", "Say in the revision why they may go"),
    Rule("drops-schema", r"^DROP (SCHEMA|DATABASE|OWNED)\b", "all in it is lost", "Drop what is in it by name"),
    Rule(
        "changes-type",
        r"^ALTER TABLE .*\bALTER (COLUMN )?\S+ (SET DATA )?TYPE\b",
        "the table is rewritten while nobody can read it, and prepared plans fail",
        "Add a column of the new type, fill it in batches, switch the code over",
    ),
    Rule(
        "index-not-concurrent",
        r"^CREATE (UNIQUE )?INDEX\b",
        "nobody can write to the table until it is built",
        "postgresql_concurrently=True inside of op.get_context().autocommit_block()",
        unless=r"\bCONCURRENTLY\b",
    ),
    Rule(
        "drops-index-not-concurrent",
        r"^DROP INDEX\b",
        "it waits for every reader, and new ones wait for it",
        "postgresql_concurrently=True inside of op.get_context().autocommit_block()",
        unless=r"\bCONCURRENTLY\b",
    ),
    Rule(
        "not-null-without-default",
        r"^ALTER TABLE .*\bADD (COLUMN )?(?!CONSTRAINT|CHECK|FOREIGN|UNIQUE|PRIMARY|EXCLUDE)\S+ .*\bNOT NULL\b",
        "it fails on a table that has rows",
        "Give it a server_default",
        unless=r"\b(DEFAULT|GENERATED|IDENTITY)\b",
    ),
    Rule(
        "sets-not-null",
        r"^ALTER TABLE .*\bALTER (COLUMN )?\S+ SET NOT NULL\b",
        "the whole table is read while nobody can use it",
        "Add CHECK (… IS NOT NULL) NOT VALID, validate it in a later revision, then set it",
    ),
    Rule(
        "constraint-not-valid",
        r"^ALTER TABLE .*\bADD (CONSTRAINT \S+ )?(CHECK|FOREIGN KEY)\b",
        "the whole table is checked while nobody can write to it",
        "Add it NOT VALID, and VALIDATE CONSTRAINT in a later revision",
        unless=r"\bNOT VALID\b",
    ),
    Rule(
        "constraint-builds-index",
        r"^ALTER TABLE .*\bADD (CONSTRAINT \S+ )?(UNIQUE|PRIMARY KEY|EXCLUDE)\b",
        "nobody can use the table until its index is built",
        "Build a unique index CONCURRENTLY first, then ADD CONSTRAINT … USING INDEX",
        unless=r"\bUSING INDEX\b",
    ),
    Rule(
        "renames",
        r"^ALTER TABLE .*\bRENAME\b",
        "code that runs still uses the old name",
        "Add the new one beside it, and drop the old one in a later revision",
        unless=r"\bRENAME CONSTRAINT\b",
    ),
)


def lint_script(script: str) -> list[LintFinding]:
    """What the statements of an upgrade, as `migrate.sql` prints them, lock or lose."""
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
    """Every statement with the revision that it belongs to, its spaces single."""
    parts = _RUNNING.split(script)[1:]
    for revision, body in zip(parts[::2], parts[1::2], strict=True):
        text = _DOLLAR_QUOTED.sub("''", _LINE_COMMENT.sub("", body))
        for statement in _TEXT_CONSTANT.sub(lambda match: match[0].replace(";", " "), text).split(";"):
            if shown := " ".join(statement.split()):
                yield revision, shown


def _table(statement: str) -> str | None:
    match = _TABLE.match(statement)
    return (match[1] or match[2]) if match else None
