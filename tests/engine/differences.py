"""Documents on which the engine and graphql-core once disagreed.

Each is (document, variables, faults, broken loaders).
"""

from typing import Any

from world import At, Raise, Soon, Steps

DIFFERENCES: list[tuple[str, dict[str, Any], list[Any], tuple[str, ...]]] = [
    ("{ alpha { name } }", {}, [(0, "name", Raise("x"))], ()),
    ("{ alpha { late: latePeer { id } peer { id } } }", {}, [(0, "late_peer", Soon(At(1)))], ()),
    (
        "{ alphas { friend { ... on Node { id } label } } }",
        {},
        [(0, "id", None), (0, "friends_by_id", Soon(Soon("twice")))],
        (),
    ),
    ("mutation Op { m0: fail m1: fail }", {}, [], ()),
    ("{ alpha { score_3: score(within: {low: 2}) } }", {}, [], ()),
    ("{ betas { id blob } }", {}, [(2, "blob", Soon(Soon("twice")))], ()),
    ("{ alpha { peer { members { rows { __typename } } } } }", {}, [], ()),
    (
        "{ alpha { rows { latePeers { __typename id } members { label number } } } }",
        {},
        [(1, "members_by_id", [Soon("a"), Soon(Raise("in list"))])],
        (),
    ),
    ("{ alpha { tags } }", {}, [(0, "tags", Steps(["a"], ends=True, late=False))], ()),
]
