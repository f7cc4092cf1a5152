"""uvicorn's WebSocket protocol, with what a transport needs against readers that do not read."""

from __future__ import annotations

from typing import Any, Final, Protocol, cast

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.http11 import Request

SOCKET: Final = "mintong.socket"
"""The name of the ASGI extension that carries the `Socket`."""
_GRACE_S: Final = 5.0


class Socket(Protocol):
    """The connection below ASGI."""

    @property
    def is_writable(self) -> bool:
        """Whether what is sent goes out, rather than waiting for the client to read."""

    def abort(self) -> None:
        """Drop the connection with everything that was not sent yet."""


class LiveProtocol(WebSocketsSansIOProtocol):
    """A WebSocket connection that can be dropped without waiting for its buffer to be read."""

    def handle_connect(self, event: Request) -> None:
        """Offer the socket to the application."""
        super().handle_connect(event)
        if self.response.status_code == 101:
            # The application starts in a task, after this.
            cast("dict[str, Any]", self.scope["extensions"])[SOCKET] = self

    @property
    def is_writable(self) -> bool:
        """Tell whether what is sent goes out, rather than waiting for the client to read."""
        return self.writable.is_set()

    def abort(self) -> None:
        """Drop the connection with everything that was not sent yet."""
        self.transport.abort()

    async def run_asgi(self) -> None:
        """Run the application; a client that reads nothing then does not keep the connection for ever."""
        try:
            await super().run_asgi()
        finally:
            if not self.disconnected:
                self.loop.call_later(self.close_timeout + _GRACE_S, self.transport.abort)
