"""The register of the demo province: a few invented people, to try verification with; never in production."""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from typing import Final

RESIDENTS: Final[Mapping[str, str]] = {
    "350102199001011238": "林小明",
    "350203198505052348": "陈美华",
    "350521197812123454": "黄志强",
    "350603199907074562": "郑雅婷",
    "350702196803035679": "吴建国",
    "350981200010106786": "欧阳雪",
}
"""Names by resident id number. Source: invented; the numbers have the form of GB 11643."""


class DemoRegister:
    """Answers as a register of identities would."""

    async def matches(self, name: str, number: str) -> bool:
        """Tell whether a name and a resident id number belong together."""
        known = RESIDENTS.get(number, "")
        return bool(known) and hmac.compare_digest(known.encode(), name.encode())
