"""Find the ASGI or WSGI application in the syntax trees of the sources."""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from ..sources import Sources, source_of

ASGI, WSGI = "asgi", "wsgi"
# The kind of application that a class or a function creates, by the module that it is imported from and its name.
_MAKERS = {
    ("fastapi", "FastAPI"): ASGI,
    ("fastapi.applications", "FastAPI"): ASGI,
    ("starlette.applications", "Starlette"): ASGI,
    ("litestar", "Litestar"): ASGI,
    ("litestar.app", "Litestar"): ASGI,
    ("quart", "Quart"): ASGI,
    ("blacksheep", "Application"): ASGI,
    ("falcon.asgi", "App"): ASGI,
    ("django.core.asgi", "get_asgi_application"): ASGI,
    ("flask", "Flask"): WSGI,
    ("apiflask", "APIFlask"): WSGI,
    ("flask_openapi3", "OpenAPI"): WSGI,
    ("falcon", "App"): WSGI,
    ("bottle", "Bottle"): WSGI,
    ("django.core.wsgi", "get_wsgi_application"): WSGI,
}
_NOT_SOURCES = re.compile(
    r"(^|/)(tests?|testing|docs?|docs_src|examples?|samples?|migrations|versions|alembic|tools|deploy|k8s|infra|hooks)(/|$)"
    r"|(^|/)(test_[^/]*|conftest|[^/]*_test)\.py$"
)
_MAKES = re.compile(
    "|".join([*(maker for _, maker in _MAKERS), r"^(app|application)\s*(:[^=\n]*)?=\s*[\w.]+\("]), re.MULTILINE
)
_USUAL = ("main", "app", "asgi", "wsgi", "server", "application", "api", "__init__")

Made = dict[str, tuple[str, str]]
"""The kind and the framework of what is made, by the name of what makes it."""


@dataclass(frozen=True)
class AppObject:
    """An application in a source. Its module is imported from `folder`; `name` ends in () for a factory."""

    module: str
    name: str
    kind: str
    framework: str
    path: str
    line: int
    folder: str

    @property
    def reference(self) -> str:
        """Module and object, in the form for uvicorn and gunicorn."""
        return f"{self.module}:{self.name}"

    @property
    def where(self) -> str:
        return f"{self.path}:{self.line}"

    @property
    def rank(self) -> tuple[bool, int, int, str]:
        """The sort key: objects before factories, then usual file names, then files in shallow folders."""
        stem = self.path.rpartition("/")[2].removesuffix(".py")
        usual = _USUAL.index(stem) if stem in _USUAL else len(_USUAL)
        return (self.name.endswith("()"), usual, self.path.count("/"), self.path)


def is_source(path: str) -> bool:
    """Return whether a Python file is part of the application, and not of its tests, documentation or tools."""
    return path.endswith(".py") and not _NOT_SOURCES.search(path)


class Objects:
    """The applications that the sources create, and the files of modules."""

    def __init__(self, sources: Sources) -> None:
        self._sources = sources

    @cached_property
    def all(self) -> list[AppObject]:
        """All applications, the most likely first."""
        return sorted((each for path in self._read for each in self._of(path)), key=lambda each: each.rank)

    @cached_property
    def folders(self) -> list[str]:
        """All folders from which modules may be imported, the shallowest first."""
        parents = {folder for path in self._sources.files for folder in _parents(path)}
        return sorted(parents, key=lambda folder: (folder.count("/") + bool(folder), folder))

    def find(self, reference: str, near: list[str]) -> AppObject | None:
        """Return the object of a reference such as `app.main:app`, None if it does not exist.

        Searches the folders in `near` first, then all others.
        """
        module, _, name = reference.partition(":")
        plain = name.removesuffix("()").partition("(")[0].partition(".")[0]
        for folder in dict.fromkeys([*near, *self.folders]):
            path = self.file_of(module, folder)
            tree = self._sources.tree(path) if path else None
            if path and tree and (line := _line_of(tree, plain)):
                made = next(
                    (each for each in self.all if each.path == path and each.name.removesuffix("()") == plain), None
                )
                kind, framework = (made.kind, made.framework) if made else ("", "")
                return AppObject(module, name, kind, framework, path, line, folder)
        return None

    def file_of(self, module: str, folder: str) -> str | None:
        """Return the file of a module that is imported from a folder, None if it does not exist."""
        base = f"{folder}/{module.replace('.', '/')}" if folder else module.replace(".", "/")
        return next((path for path in (f"{base}.py", f"{base}/__init__.py") if self._sources.has(path)), None)

    def module_of(self, path: str) -> tuple[str, str]:
        """Return the dotted name of a file's module, and the folder that it is imported from."""
        folder, _, name = path.rpartition("/")
        parts = [] if name == "__init__.py" else [name.removesuffix(".py")]
        while folder and self._sources.has(f"{folder}/__init__.py"):
            folder, _, package = folder.rpartition("/")
            parts.insert(0, package)
        return ".".join(parts), folder

    def _of(self, path: str) -> Iterator[AppObject]:
        """Yield the applications of one file: its own, and those that it creates with factories of other files."""
        tree, makers, own = self._read[path]
        module, folder = self.module_of(path)
        known = {**self._factories, **makers, **own}
        for name, maker, line in _assigned(tree):
            if made := known.get(maker) or known.get(maker.rpartition(".")[2]):
                yield AppObject(module, name, *made, path, line, folder)
        for name, made in own.items():
            yield AppObject(module, f"{name}()", *made, path, _line_of(tree, name) or 1, folder)

    @cached_property
    def _read(self) -> dict[str, tuple[ast.Module, Made, Made]]:
        """The trees, makers and factories of the sources that may create an application, by path."""
        texts = {path: self._sources.text(path) for path in self._sources.files if is_source(path)}
        trees = {path: self._sources.tree(path) for path, text in texts.items() if _MAKES.search(text)}
        makers = {path: _makers(tree) for path, tree in trees.items() if tree}
        return {
            path: (tree, makers[path], dict(_factories(tree, makers[path]))) for path, tree in trees.items() if tree
        }

    @cached_property
    def _factories(self) -> Made:
        """The factories of all files by name."""
        return {name: made for _, _, own in self._read.values() for name, made in own.items()}


def _parents(path: str) -> Iterator[str]:
    folder = path.rpartition("/")[0]
    while folder:
        yield folder
        folder = folder.rpartition("/")[0]
    yield ""


def _makers(tree: ast.Module) -> Made:
    """Return the local names that create an application, including subclasses."""
    found: Made = {}
    for node in _imports(tree):
        if isinstance(node, ast.ImportFrom):
            for alias in node.names:
                if kind := _MAKERS.get((node.module or "", alias.name)):
                    found[alias.asname or alias.name] = (kind, str(node.module).partition(".")[0])
        else:
            found |= _qualified(node)
    for each in tree.body:
        if isinstance(each, ast.ClassDef):
            found |= {each.name: found[base] for base in map(source_of, each.bases) if base in found}  # noqa: B035
    return found


def _imports(tree: ast.Module) -> Iterator[ast.Import | ast.ImportFrom]:
    """Yield the imports at the top level of a module and of its functions."""
    for node in _top(tree):
        inner = node.body if isinstance(node, ast.FunctionDef) else []
        yield from (each for each in (node, *inner) if isinstance(each, ast.Import | ast.ImportFrom))


def _qualified(node: ast.Import) -> Made:
    """Return the qualified makers of an import: `fastapi.FastAPI` for `import fastapi`."""
    return {
        f"{alias.asname or alias.name}.{maker}": (kind, module.partition(".")[0])
        for alias in node.names
        for (module, maker), kind in _MAKERS.items()
        if alias.name == module
    }


def _factories(tree: ast.Module, makers: Made) -> Iterator[tuple[str, tuple[str, str]]]:
    """Yield the functions without required parameters that create an application and return it."""
    known = dict(makers)
    for node in tree.body if makers else ():
        if isinstance(node, ast.FunctionDef) and (made := _returned(node, known)):
            known[node.name] = made
            if not _required(node):
                yield node.name, made


def _returned(function: ast.FunctionDef, makers: Made) -> tuple[str, str] | None:
    made: Made = {}
    for node in ast.walk(function):
        match node:
            case ast.Assign(targets=[ast.Name(id=name)], value=ast.Call(func=maker)) if source_of(maker) in makers:
                made[name] = makers[source_of(maker)]
            case ast.AnnAssign(target=ast.Name(id=name), value=ast.Call(func=maker)) if source_of(maker) in makers:
                made[name] = makers[source_of(maker)]
    for node in ast.walk(function):
        match node:
            case ast.Return(value=ast.Name(id=name)) if name in made:
                return made[name]
            case ast.Return(value=ast.Call(func=maker)) if source_of(maker) in makers:
                return makers[source_of(maker)]
    return None


def _required(function: ast.FunctionDef) -> bool:
    arguments = function.args
    positional = [*arguments.posonlyargs, *arguments.args]
    return len(positional) > len(arguments.defaults) or None in arguments.kw_defaults


def _assigned(tree: ast.Module) -> Iterator[tuple[str, str, int]]:
    """Yield the top-level names of a module that are assigned the result of a call, with the function and the line."""
    for node in _top(tree):
        match node:
            case ast.Assign(targets=[ast.Name(id=name)], value=ast.Call(func=maker)):
                yield name, source_of(maker), node.lineno
            case ast.AnnAssign(target=ast.Name(id=name), value=ast.Call(func=maker)):
                yield name, source_of(maker), node.lineno


def _top(tree: ast.Module) -> Iterator[ast.stmt]:
    for node in tree.body:
        yield node
        if isinstance(node, ast.If | ast.Try | ast.With):
            yield from node.body
            yield from getattr(node, "orelse", [])


def _line_of(tree: ast.Module, name: str) -> int | None:
    """Return the line where a module defines, assigns or imports a name, None if it does not."""
    for node in _top(tree):
        names: list[str] = []
        match node:
            case ast.FunctionDef(name=defined) | ast.AsyncFunctionDef(name=defined) | ast.ClassDef(name=defined):
                names = [defined]
            case ast.Assign(targets=targets):
                names = [each.id for target in targets for each in ast.walk(target) if isinstance(each, ast.Name)]
            case ast.AnnAssign(target=ast.Name(id=assigned)):
                names = [assigned]
            case ast.Import(names=aliases) | ast.ImportFrom(names=aliases):
                names = [alias.asname or alias.name for alias in aliases]
        if name in names:
            return node.lineno
    return None
