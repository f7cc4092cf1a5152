"""What Prometheus reads of a worker. Labels are bounded: channels, outcomes and lanes of the house."""

from __future__ import annotations

from typing import Final

from prometheus_client import Counter, Gauge, Histogram

QUEUE_DEPTH: Final = Gauge(
    "mintong_queue_depth", "Jobs by lane: waiting, or taken by a worker.", ("lane", "state")
)
DEVICES: Final = Counter(
    "mintong_delivery_devices_total",
    "Devices by channel and what became of the push.",
    ("channel", "outcome"),
)
RECIPIENTS: Final = Counter("mintong_fanout_recipients_total", "Inbox rows written.")
FANOUT_SECONDS: Final = Histogram(
    "mintong_fanout_part_seconds", "Seconds for one part of a broadcast or one batch of private messages."
)
SEND_SECONDS: Final = Histogram(
    "mintong_delivery_send_seconds", "Seconds for one call of a channel.", ("channel",)
)
IN_FLIGHT: Final = Gauge("mintong_delivery_in_flight", "Pushes handed to a channel that has not answered.")
DEAD_LETTERS: Final = Gauge("mintong_dead_letters", "Pushes that failed for good and are kept.")
TAKEN_OVER: Final = Counter(
    "mintong_delivery_taken_over_total", "Deliveries whose fate was unknown when their worker died."
)
SWEPT: Final = Counter("mintong_swept_total", "What the sweeper had to hand over anew.", ("what",))
