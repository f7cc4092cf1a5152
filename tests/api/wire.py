"""A socket that speaks HTTP/1.1 by hand, and the requests that it sends."""

from __future__ import annotations

import socket
from typing import Any

import orjson

from api.documents import document_hash

OPEN: list[socket.socket] = []
"""The sockets to close after a test."""


class Wire:
    """A socket that speaks HTTP/1.1 by hand."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=5)
        OPEN.append(self.socket)
        self.rest = b""

    def ask(self, *requests: bytes) -> list[tuple[int, dict[str, str], bytes]]:
        self.socket.sendall(b"".join(requests))
        return [self.read() for _ in requests]

    def read(self) -> tuple[int, dict[str, str], bytes]:
        while b"\r\n\r\n" not in self.rest:
            self.rest += self._more()
        head, _, self.rest = self.rest.partition(b"\r\n\r\n")
        status, *lines = head.decode().split("\r\n")
        headers = dict(line.split(": ", 1) for line in lines)
        size = int(headers.get("content-length", 0))
        while len(self.rest) < size:
            self.rest += self._more()
        body, self.rest = self.rest[:size], self.rest[size:]
        return int(status.split()[1]), headers, body

    def _more(self) -> bytes:
        data = self.socket.recv(65536)
        assert data, "the server closed the connection"
        return data


def post(text: str, variables: dict[str, Any] | None = None, *headers: str, size: int | None = None) -> bytes:
    body = orjson.dumps({"documentId": f"sha256:{document_hash(text)}", "variables": variables})
    lines = [
        "POST /graphql HTTP/1.1",
        "host: mintong",
        "content-type: application/json",
        "accept: application/graphql-response+json",
        *headers,
        f"content-length: {len(body) if size is None else size}",
    ]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body
