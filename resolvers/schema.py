"""The schema: every noun's queries and mutations under the roots; for whom they are is checked."""

from __future__ import annotations

import strawberry
from strawberry.schema.config import StrawberryConfig

from resolvers.access import require_rules
from resolvers.account import AccountMutation, AccountQuery
from resolvers.catalogue import CatalogueQuery
from resolvers.desk import DeskRootQuery
from resolvers.devices import DevicesMutation


@strawberry.type(description="Everything that can be read.")
class Query(CatalogueQuery, AccountQuery, DeskRootQuery):
    """The root of reading: public data here, a citizen's own under `viewer`, staff's work under `desk`."""


@strawberry.type(description="Everything that can be changed; refusals come back as `userErrors`.")
class Mutation(AccountMutation, DevicesMutation):
    """The root of writing."""


schema = require_rules(
    strawberry.Schema(query=Query, mutation=Mutation, config=StrawberryConfig(auto_camel_case=True))
)
