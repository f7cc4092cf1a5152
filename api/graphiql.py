"""GraphiQL from this machine: static files of an installed package, a small page and script of our own.

The package is a Django app; only its static files are used, found without importing it.
"""

from __future__ import annotations

import asyncio
import hashlib
from importlib.metadata import files
from pathlib import Path
from typing import Final

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from api.compression import compress
from api.negotiation import encoding

_DISTRIBUTION: Final = "graphene-django-graphiql-static"
_HERE: Final = Path(__file__).parent / "graphiql_page"
_OWN: Final = ("app.js", "app.css")
_FROM_PACKAGE: Final = (
    "react.production.min.js",
    "react-dom.production.min.js",
    "graphiql.min.js",
    "graphiql.min.css",
)
_MEDIA_TYPES: Final = {".js": "text/javascript", ".css": "text/css"}
# GraphiQL's editor sets style attributes; scripts come from files only.
_CSP: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "font-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


class GraphiQL:
    """The page at GET /graphql and its files at /graphiql/."""

    def __init__(self) -> None:
        self._page = (_HERE / "page.html").read_text("utf-8")
        self._paths = asset_paths()
        self._assets: dict[str, tuple[bytes, str]] = {}

    async def page(self, _: Request) -> Response:
        """Serve the page."""
        headers = {"content-security-policy": _CSP, "cache-control": "no-cache", "vary": "accept"}
        return HTMLResponse(self._page, headers=headers)

    async def asset(self, request: Request) -> Response:
        """Serve one of the page's files; browsers keep it and ask whether it has changed."""
        name = request.path_params["name"]
        path = self._paths.get(name)
        if path is None:
            return Response("not found", 404)
        if name not in self._assets:
            content = await asyncio.to_thread(path.read_bytes)
            self._assets[name] = (content, hashlib.sha256(content).hexdigest()[:24])
        content, digest = self._assets[name]
        headers = {
            "cache-control": "public, max-age=3600",
            "etag": f'W/"{digest}"',
            "vary": "accept-encoding",
            "content-type": f"{_MEDIA_TYPES[path.suffix]}; charset=utf-8",
        }
        if request.headers.get("if-none-match") == headers["etag"]:
            return Response(status_code=304, headers=headers)
        if coding := encoding(request.headers.get("accept-encoding")):
            headers["content-encoding"] = coding
            content = await asyncio.to_thread(compress, content, coding)
        return Response(content, headers=headers)


def asset_paths() -> dict[str, Path]:
    """Find the files that the page needs, by the name they are served under.

    Raises: FileNotFoundError when the installed package lacks one.
    """
    paths = {name: _HERE / name for name in _OWN}
    for file in files(_DISTRIBUTION) or ():
        if file.name in _FROM_PACKAGE and "static" in file.parts:
            paths[file.name] = Path(str(file.locate()))
    missing = [name for name in (*_OWN, *_FROM_PACKAGE) if name not in paths or not paths[name].is_file()]
    if missing:
        raise FileNotFoundError(f"{_DISTRIBUTION} lacks {', '.join(missing)}")
    return paths
