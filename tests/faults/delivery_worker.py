"""A worker process that sends to a local FCM server: `python -m tests.faults.delivery_worker CONFIG_JSON`."""

from __future__ import annotations

import asyncio
import signal
import sys

import msgspec
import uvloop
from msgspec import Struct

from notifications.channels.fcm import FcmConfig, open_fcm
from notifications.worker import WorkerConfig, run


class Config(Struct):
    """What the process needs to know."""

    mongodb_uri: str
    redis_url: str
    database: str
    endpoint: str
    project: str


async def serve(config: Config) -> None:
    """Run until SIGTERM."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    fcm = FcmConfig(config.project, endpoint=config.endpoint, timeout_s=2)
    worker = WorkerConfig(config.mongodb_uri, config.redis_url, config.database, sweep_s=0.5)
    async with open_fcm(fcm) as channel:
        await run(worker, {channel.name: channel}, stop)


if __name__ == "__main__":
    uvloop.run(serve(msgspec.json.decode(sys.argv[1], type=Config)))
