"""Find the variables that the sources read: by settings classes, os.environ, decouple, environs and starlette."""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from ..sources import Sources, source_of
from .objects import is_source

SETTINGS = "BaseSettings"
MODEL = "BaseModel"
_READERS = ("get_env", "config", "env", "getenv", "environ.get", "os.getenv", "os.environ.get", "decouple.config")
_ENVIRONS = {
    "str",
    "int",
    "bool",
    "float",
    "list",
    "dict",
    "url",
    "db",
    "db_url",
    "dj_db_url",
    "json",
    "path",
    "get_value",
}
_DEEPEST = 4
Fields = dict[str, "Usage"]


@dataclass(frozen=True)
class Usage:
    """A variable that a source reads. `kind` is its annotation or the function that reads it.

    `default` is the text that is used without it, None without a default; `composed`: the default is built from
    other values. `late`: only a function reads it, so the application may start without it.
    """

    name: str
    where: str
    required: bool
    default: str | None = None
    kind: str = ""
    composed: bool = False
    late: bool = False


class Usages:
    """The variables that a project reads."""

    def __init__(self, sources: Sources, below: tuple[str, ...] = ("",)) -> None:
        """Search the sources in the folders `below`."""
        self._sources = sources
        self._below = tuple(f"{folder}/" if folder else "" for folder in below)

    @cached_property
    def all(self) -> dict[str, Usage]:
        """The usages by variable. If several places read one, a required usage counts first, then an early one."""
        found: dict[str, Usage] = {}
        for each in self._each():
            before = found.get(each.name)
            if before is None or (each.required, not each.late) > (before.required, not before.late):
                found[each.name] = each
            elif before.default is None and each.default is not None:
                found[each.name] = replace(before, default=each.default)
        return found

    def _each(self) -> Iterator[Usage]:
        for path, tree in self._trees.items():
            for node, late in _walk(tree):
                if isinstance(node, ast.ClassDef) and self._derives(node, SETTINGS):
                    yield from self._of_settings(path, node)
                elif usage := _read(node, path):
                    yield replace(usage, late=late)

    @cached_property
    def _trees(self) -> dict[str, ast.Module]:
        paths = [path for path in self._sources.files if path.startswith(self._below)]
        paths = [path for path in paths if is_source(path) or path.endswith("/env.py")]
        telling = [path for path in paths if _HINTS.search(self._sources.text(path))]
        return {path: tree for path in telling if (tree := self._sources.tree(path))}

    @cached_property
    def _classes(self) -> dict[str, tuple[str, ast.ClassDef]]:
        """All classes by name, each with its file."""
        return {
            node.name: (path, node)
            for path, tree in self._trees.items()
            for node in ast.walk(tree)
            if isinstance(node, ast.ClassDef)
        }

    def _derives(self, node: ast.ClassDef, base: str, depth: int = 0) -> bool:
        names = [source_of(each).rpartition(".")[2] for each in node.bases]
        if base in names:
            return True
        known = [self._classes[name][1] for name in names if name in self._classes and name != node.name]
        return depth < _DEEPEST and any(self._derives(each, base, depth + 1) for each in known)

    def _of_settings(self, path: str, node: ast.ClassDef) -> Iterator[Usage]:
        options = self._options(node)
        prefix = str(options.get("env_prefix", ""))
        delimiter = options.get("env_nested_delimiter")
        yield from self._fields(path, node, prefix, str(delimiter) if delimiter else None)

    def _options(self, node: ast.ClassDef, depth: int = 0) -> dict[str, Any]:
        """Return the configuration of a settings class, including that of its bases."""
        found: dict[str, Any] = {}
        for base in node.bases:
            name = source_of(base).rpartition(".")[2]
            if depth < _DEEPEST and name in self._classes and name != node.name:
                found |= self._options(self._classes[name][1], depth + 1)
        for each in node.body:
            match each:
                case ast.Assign(targets=[ast.Name(id="model_config")], value=value):
                    found |= _keywords(value)
                case ast.AnnAssign(target=ast.Name(id="model_config"), value=ast.expr() as value):
                    found |= _keywords(value)
                case ast.ClassDef(name="Config", body=body):
                    found |= dict(_literals(body))
        return found

    def _fields(
        self, path: str, node: ast.ClassDef, prefix: str, delimiter: str | None, depth: int = 0
    ) -> Iterator[Usage]:
        for each in node.body:
            if isinstance(each, ast.AnnAssign) and isinstance(each.target, ast.Name):
                nested = self._nested(each.annotation)
                if nested and delimiter and depth < _DEEPEST:
                    inner = f"{prefix}{each.target.id}{delimiter}"
                    yield from self._fields(nested[0], nested[1], inner, delimiter, depth + 1)
                elif not nested:
                    yield from _field(path, each, prefix)

    def _nested(self, annotation: ast.expr) -> tuple[str, ast.ClassDef] | None:
        """Return the model of a field, with its file; None if the field is not a model."""
        for name in (node.id for node in ast.walk(annotation) if isinstance(node, ast.Name)):
            if name in self._classes:
                path, node = self._classes[name]
                if self._derives(node, MODEL) or self._derives(node, SETTINGS):
                    return path, node
        return None


_HINTS = re.compile(r"BaseSettings|BaseModel|environ\b|get_?env\(|\bconfig\(|\benv\(|\benv\.\w+\(|Settings\)")


def _walk(tree: ast.Module) -> Iterator[tuple[ast.AST, bool]]:
    """Yield every node in source order, and whether it runs only when a function is called."""
    left: list[tuple[ast.AST, bool]] = [(tree, False)]
    while left:
        node, late = left.pop()
        yield node, late
        late = late or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        left += reversed([(each, late) for each in ast.iter_child_nodes(node)])


def _literals(body: list[ast.stmt]) -> Iterator[tuple[str, Any]]:
    for node in body:
        if (
            isinstance(node, ast.Assign)
            and isinstance(node.targets[0], ast.Name)
            and isinstance(node.value, ast.Constant)
        ):
            yield node.targets[0].id, node.value.value


def _keywords(value: ast.expr) -> dict[str, Any]:
    """Return the literal options of `SettingsConfigDict(…)` or of a dictionary."""
    if isinstance(value, ast.Call):
        return {
            each.arg: each.value.value for each in value.keywords if each.arg and isinstance(each.value, ast.Constant)
        }
    if isinstance(value, ast.Dict):
        pairs = ((source_of(key).strip("'\""), each) for key, each in zip(value.keys, value.values, strict=True) if key)
        return {key: each.value for key, each in pairs if isinstance(each, ast.Constant)}
    return {}


# -- fields of settings classes --------------------------------------------------------------------------------


def _field(path: str, node: ast.AnnAssign, prefix: str) -> Iterator[Usage]:
    assert isinstance(node.target, ast.Name)
    kind = source_of(node.annotation)
    name = node.target.id
    if kind.startswith("ClassVar") or name.startswith("_") or name == "model_config":
        return
    value, aliases = node.value, []
    if isinstance(value, ast.Call) and source_of(value.func).rpartition(".")[2] == "Field":
        aliases = _aliases(value)
        value = _default_of(value)
    names = aliases or [f"{prefix}{name}".upper()]
    where = f"{path}:{node.lineno}"
    required = value is None
    read = _read(value, path) if value is not None else None
    if read:  # `X: str = config("X", default=…)`, which the walk finds too
        return
    yield Usage(names[0], where, required, _text(value), kind, isinstance(value, ast.JoinedStr | ast.BinOp))


def _aliases(call: ast.Call) -> list[str]:
    """Return the names that a Field gives its variable."""
    found: list[str] = []
    for each in call.keywords:
        if each.arg in ("alias", "validation_alias", "env"):
            found += [
                node.value
                for node in ast.walk(each.value)
                if isinstance(node, ast.Constant) and isinstance(node.value, str)
            ]
    return found


def _default_of(call: ast.Call) -> ast.expr | None:
    """Return the default of a Field, None without a default."""
    for each in call.keywords:
        if each.arg in ("default", "default_factory"):
            return None if _is_ellipsis(each.value) else each.value
    return call.args[0] if call.args and not _is_ellipsis(call.args[0]) else None


def _is_ellipsis(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is ...


def _text(node: ast.expr | None) -> str | None:
    """Return the text of a literal default, also inside a call such as `PostgresDsn("…")`; None for others."""
    if isinstance(node, ast.Call) and node.args:
        node = node.args[0]
    if isinstance(node, ast.JoinedStr):
        return "".join(
            part.value if isinstance(part, ast.Constant) and isinstance(part.value, str) else "x"
            for part in node.values
        )
    if isinstance(node, ast.Constant) and node.value is not None and node.value is not ...:
        return str(node.value)
    return None


# -- calls that read a variable --------------------------------------------------------------------------------


def _read(node: ast.AST | None, path: str) -> Usage | None:
    """Return the variable that an expression reads, None if it does not read one."""
    match node:
        case ast.Subscript(value=value, slice=ast.Constant(value=str(name)), ctx=ast.Load()):
            if source_of(value).endswith("environ"):
                return _usage(name, f"{path}:{node.lineno}", required=True, kind="os.environ")
        case ast.Call(func=function, args=[ast.Constant(value=str(name)), *rest], keywords=keywords):
            reader = source_of(function)
            if not _is_reader(reader):
                return None
            default = next((each.value for each in keywords if each.arg == "default"), rest[0] if rest else None)
            if reader in ("config", "env", "decouple.config") and isinstance(default, ast.Name):
                default = next((each.value for each in keywords if each.arg == "default"), None)  # a cast
            required = default is None and "get" not in reader.rpartition(".")[2]
            kind = next((source_of(each.value) for each in keywords if each.arg == "cast"), reader)
            return _usage(name, f"{path}:{node.lineno}", required=required, kind=kind, default=_text(default))
    return None


def _is_reader(name: str) -> bool:
    owner, _, method = name.rpartition(".")
    return name in _READERS or (owner.rpartition(".")[2] == "env" and method in _ENVIRONS)


def _usage(name: str, where: str, *, required: bool, kind: str, default: str | None = None) -> Usage | None:
    return Usage(name, where, required, default, kind) if name.isidentifier() else None
