"""Read the parameters of a query that is described by a model.

FastAPI would look for each of the model's fields in every request, which takes as long as the rest of a request's
parsing. Here only those that are given are read.
"""

from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ValidationError

from ...errors import InvalidInputError

REPEATABLE = frozenset({"state", "priority", "tag"})

M = TypeVar("M", bound=BaseModel)


def given_once(request: Request, known: set[str]) -> dict[str, Any]:
    """Return the query's parameters. Refuses those that would be ignored: unknown ones, and those given twice."""
    given: dict[str, Any] = {}
    for name, value in request.query_params.multi_items():
        if name not in known:
            hint = f"Use {', '.join(sorted(known))}"
            raise InvalidInputError(f"unknown parameter {name!r}", field=name, hint=hint)
        if name in REPEATABLE:
            given.setdefault(name, []).append(value)
        elif name in given:
            raise InvalidInputError(f"{name} is given more than once", field=name)
        else:
            given[name] = value
    return given


def query_of(model: type[M]) -> Callable[[Request], Coroutine[Any, Any, M]]:
    """Return the dependency of a route whose query is described by `model`."""
    known = {*model.model_fields}

    async def read(request: Request) -> M:
        try:
            return model.model_validate(given_once(request, known))
        except ValidationError as error:
            found = [{**each, "loc": ("query", *each["loc"])} for each in error.errors(include_url=False)]
            raise RequestValidationError(found) from None

    return read


def documented_query(model: type[BaseModel]) -> dict[str, Any]:
    """Return the parameters for the OpenAPI document, which FastAPI does not see, and the answer to invalid ones."""
    schema = model.model_json_schema()
    kinds = schema.get("$defs", {})
    parameters = [
        {"name": name, "in": "query", "required": False, "schema": _inlined(field, kinds)}
        for name, field in schema["properties"].items()
    ]
    invalid = {"application/json": {"schema": {"$ref": "#/components/schemas/HTTPValidationError"}}}
    return {
        "parameters": parameters,
        "responses": {"422": {"description": "A parameter is invalid", "content": invalid}},
    }


def _inlined(schema: Any, kinds: dict[str, Any]) -> Any:
    """Return a schema with the enums that it refers to."""
    if isinstance(schema, list):
        return [_inlined(each, kinds) for each in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        return kinds[schema["$ref"].rpartition("/")[2]]
    return {name: _inlined(value, kinds) for name, value in schema.items()}
