"""Ports for servers that are processes of their own and are told where to listen."""

from __future__ import annotations

import random
import socket

BELOW_THE_KERNELS_OWN = range(20_000, 32_000)
"""Where the kernel, asked for any port, gives none: no client of another test takes it before the server."""


def free_port() -> int:
    """Find a port that nobody listens on."""
    while True:
        port = random.SystemRandom().choice(BELOW_THE_KERNELS_OWN)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
