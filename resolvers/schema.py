"""The schema: every noun's queries under one root."""

from __future__ import annotations

import strawberry
from strawberry.schema.config import StrawberryConfig

from resolvers.catalogue import CatalogueQuery


@strawberry.type(description="Everything that can be read.")
class Query(CatalogueQuery):
    """The root of reading: public data here, a citizen's own under `viewer`."""


schema = strawberry.Schema(query=Query, config=StrawberryConfig(auto_camel_case=True))
