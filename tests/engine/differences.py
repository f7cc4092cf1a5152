"""Documents on which the engine and graphql-core once disagreed.

Each is (document, variables, faults, broken loaders).
"""

from typing import Any

from world import At, Raise, Soon, Steps

DIFFERENCES: list[tuple[str, dict[str, Any], list[Any], tuple[str, ...]]] = [
    ("{ alpha { name } }", {}, [(0, "name", Raise("x"))], ()),
    ("{ alpha { late: latePeer { id } peer { id } } }", {}, [(0, "late_peer", Soon(At(1)))], ()),
    ("{ alpha { tags } }", {}, [(0, "tags", Steps(["a"], ends=True, late=False))], ()),
]
