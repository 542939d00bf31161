"""Render templates, in the language of the request, and serve the files that they load."""

import gzip
import hashlib
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any

import jinja2
from fastapi import HTTPException, Request, Response

from ..middleware import OWN_HEADERS
from .texts import TEXTS, language_of

LANGUAGE = "fastzero-language"  # the cookie of the language that the user chose
COMPRESSED_FROM = 1000  # bytes
TYPES = {"css": "text/css; charset=utf-8", "js": "text/javascript; charset=utf-8", "svg": "image/svg+xml"}
HEADERS = [
    (
        b"content-security-policy",
        b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        b"form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    ),
    (b"cache-control", b"no-store"),
    (b"vary", b"Accept, Accept-Language, Cookie, HX-Request"),
]
# Its name contains the hash of its content.
STATIC_HEADERS = [(b"cache-control", b"public, max-age=31536000, immutable")]


def is_fragment(request: Request) -> bool:
    """Return whether a script of the page asks, which replaces a part of it."""
    return "hx-request" in request.headers


def texts_of(request: Request) -> Mapping[str, str]:
    return TEXTS[_language(request)]


def html(request: Request, template: str, code: int = 200, **values: Any) -> Response:
    """Return a response with a template's HTML, compressed where the client accepts it."""
    request.scope[OWN_HEADERS] = HEADERS
    language = _language(request)
    text = (
        _templates()
        .get_template(template)
        .render(t=TEXTS[language], language=language, languages=TEXTS, asset=_address, **values)
    )
    return _compressed(request, text.encode(), code, "text/html; charset=utf-8")


def static(request: Request, name: str) -> Response:
    """Return a file that the page loads. Raises HTTPException 404."""
    found = _static().get(name)
    if found is None:
        raise HTTPException(404)
    request.scope[OWN_HEADERS] = STATIC_HEADERS
    return _compressed(request, found, 200, TYPES[name.rpartition(".")[2]])


def choose_language(response: Response, language: str) -> None:
    """Remember the language that the user chose."""
    if language in TEXTS:
        response.set_cookie(LANGUAGE, language, max_age=31_536_000, httponly=True, samesite="lax")


def _language(request: Request) -> str:
    chosen = request.query_params.get("lang") or request.cookies.get(LANGUAGE, "")
    return language_of(chosen, request.headers.get("accept-language", ""))


def _compressed(request: Request, content: bytes, code: int, media_type: str) -> Response:
    headers = {}
    if len(content) >= COMPRESSED_FROM and "gzip" in request.headers.get("accept-encoding", ""):
        content, headers = gzip.compress(content, 5), {"content-encoding": "gzip"}
    return Response(content, code, headers, media_type)


def _address(name: str) -> str:
    digest = hashlib.sha256(_static()[name]).hexdigest()[:12]
    return f"/static/{name}?v={digest}"


@cache
def _static() -> dict[str, bytes]:
    folder = files(__package__) / "static"
    return {file.name: file.read_bytes() for file in folder.iterdir() if file.name.rpartition(".")[2] in TYPES}


@cache
def _templates() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.PackageLoader(__package__),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
