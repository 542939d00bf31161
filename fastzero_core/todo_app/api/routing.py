"""The order of work in a request: cheap checks (`middleware`), token, body, validation, statements."""

from collections.abc import Callable, Coroutine
from functools import cached_property
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute

from .bodies import Body, Budget
from .deps import Bearer, caller_of
from .middleware import BODY_LIMIT

# Only requests with a token use it: bodies that need none are too small to be counted.
BUDGET = Budget(64 * 1024 * 1024)  # bytes

Handler = Callable[[Request], Coroutine[Any, Any, Response]]


class OrderedRoute(APIRoute):
    """Checks the token before it reads the body, so that requests without a token use little memory and time."""

    @cached_property
    def parameters(self) -> set[str]:
        """The names of the query parameters."""
        return {each.alias for each in self.dependant.query_params}

    def get_route_handler(self) -> Handler:
        handle = super().get_route_handler()
        needs_token = any(isinstance(needed.call, Bearer) for needed in self.dependant.dependencies)
        if self.body_field is not None:
            handle = read_body_first(handle)
        return _with_token(handle) if needs_token else handle


def _with_token(handle: Handler) -> Handler:
    async def check_token_first(request: Request) -> Response:
        caller_of(request)
        return await handle(request)

    return check_token_first


def read_body_first(handle: Handler) -> Handler:
    """Return a handler that gets the request with its body in memory."""

    async def with_body(request: Request) -> Response:
        body = Body(BUDGET, request.scope[BODY_LIMIT])
        try:
            return await handle(await body.read(request))
        finally:
            body.close()

    return with_body
