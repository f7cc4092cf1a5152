"""The schema: every noun's fields under the three roots; for whom they are is checked."""

from __future__ import annotations

import strawberry
from strawberry.schema.config import StrawberryConfig

from resolvers.access import require_rules
from resolvers.account import AccountMutation, AccountQuery
from resolvers.agencies import AgenciesMutation
from resolvers.broadcasts import BroadcastsMutation
from resolvers.catalogue import CatalogueQuery
from resolvers.city_cases import CityMutation, CityQuery
from resolvers.complaint_desk_mutations import DeskComplaintsMutation
from resolvers.complaint_drafts import ComplaintDraftsMutation
from resolvers.complaint_mutations import ComplaintsMutation
from resolvers.complaint_preview import ComplaintPreviewQuery
from resolvers.complaint_statistics import ComplaintStatisticsQuery
from resolvers.complaints import ComplaintsQuery, ComplaintsSubscription
from resolvers.desk import DeskRootQuery
from resolvers.devices import DevicesMutation
from resolvers.knowledge import KnowledgeMutation, KnowledgeQuery
from resolvers.media import MediaMutation
from resolvers.messages import MessagesMutation, MessagesSubscription
from resolvers.public_complaints import PublicComplaintsQuery
from resolvers.units import UnitsQuery


@strawberry.type(description="Everything that can be read.")
class Query(
    CatalogueQuery,
    AccountQuery,
    UnitsQuery,
    KnowledgeQuery,
    CityQuery,
    ComplaintsQuery,
    ComplaintPreviewQuery,
    PublicComplaintsQuery,
    ComplaintStatisticsQuery,
    DeskRootQuery,
):
    """The root of reading: public data here, a citizen's own under `viewer`, staff's work under `desk`."""


@strawberry.type(description="Everything that can be changed; refusals come back as `userErrors`.")
class Mutation(
    AccountMutation,
    AgenciesMutation,
    DevicesMutation,
    MediaMutation,
    MessagesMutation,
    BroadcastsMutation,
    KnowledgeMutation,
    CityMutation,
    ComplaintsMutation,
    ComplaintDraftsMutation,
    DeskComplaintsMutation,
):
    """The root of writing."""


@strawberry.type(description="Everything that can be followed while it happens.")
class Subscription(MessagesSubscription, ComplaintsSubscription):
    """The root of live updates."""


schema = require_rules(
    strawberry.Schema(
        query=Query,
        mutation=Mutation,
        subscription=Subscription,
        config=StrawberryConfig(auto_camel_case=True),
    )
)
