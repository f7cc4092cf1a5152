"""Which browsers' pages may read answers (CORS, Fetch standard): none but those the settings name."""

from __future__ import annotations

from typing import Final

from api.exchange import Headers

_METHODS: Final = b"GET, POST, OPTIONS"
_REQUEST_HEADERS: Final = (
    b"accept, accept-language, authorization, content-type, if-none-match, x-request-id, "
    b"x-upload-token, apollo-require-preflight, x-apollo-operation-name"
)
_EXPOSED: Final = b"etag, x-request-id"
_MAX_AGE_S: Final = b"7200"  # browsers cap it there


class Cors:
    """The origins that are allowed; `*` allows every one, without credentials in any case."""

    def __init__(self, origins: tuple[str, ...]) -> None:
        self._origins = frozenset(origin.rstrip("/") for origin in origins)
        self._everyone = "*" in self._origins

    def allows(self, origin: str) -> bool:
        """Tell whether pages of this origin may read answers."""
        return self._everyone or origin in self._origins

    def headers(self, origin: str) -> Headers:
        """Give the headers of an answer to a page of this origin; none when it is not allowed."""
        if not self.allows(origin):
            return []
        allowed = b"*" if self._everyone else origin.encode("latin-1")
        return [(b"access-control-allow-origin", allowed), (b"access-control-expose-headers", _EXPOSED)]

    def preflight(self, headers: Headers) -> tuple[tuple[bytes, bytes], ...]:
        """Give the headers that answer OPTIONS, besides those every answer gets."""
        answer: list[tuple[bytes, bytes]] = [(b"allow", _METHODS)]
        for name, value in headers:
            if name == b"origin" and self.allows(value.decode("latin-1")):
                answer.append((b"access-control-allow-methods", _METHODS))
                answer.append((b"access-control-allow-headers", _REQUEST_HEADERS))
                answer.append((b"access-control-max-age", _MAX_AGE_S))
        return tuple(answer)
