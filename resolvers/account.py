"""The signed-in citizen's own: `Viewer` is composed here from the parts of every noun."""

from __future__ import annotations

from datetime import datetime

import strawberry
from strawberry.types import Info

from domain.access import SIGNED_IN, Assurance, Role
from resolvers.access import allow, viewer_of
from resolvers.context import Context


@strawberry.type
class ViewerAccount:
    """The account's part of Viewer."""

    @strawberry.field(description="What the viewer acts as.", permission_classes=[allow(*SIGNED_IN)])
    def roles(self, info: Info[Context, None]) -> list[Role]:
        """List the roles in a fixed order."""
        viewer = viewer_of(info)
        return [role for role in Role if viewer.acts_as(role)]

    @strawberry.field(
        description="How sure it is who is asking, now.", permission_classes=[allow(*SIGNED_IN)]
    )
    def assurance(self, info: Info[Context, None]) -> Assurance:
        """Give the level that holds at the time of the request."""
        return viewer_of(info).level(info.context.now)

    @strawberry.field(
        description="When the access token runs out, UTC; refresh before.",
        permission_classes=[allow(*SIGNED_IN)],
    )
    def token_expires_at(self, info: Info[Context, None]) -> datetime:
        """Give the end of the access token."""
        return viewer_of(info).expires_at


@strawberry.type(name="Viewer", description="Everything about whoever is signed in.")
class ViewerQuery(ViewerAccount):
    """Composed from the parts of every noun."""


@strawberry.type
class AccountQuery:
    """The account's part of the root of Query."""

    @strawberry.field(
        description="Whoever is signed in; null, with the error UNAUTHENTICATED, when nobody is.",
        permission_classes=[allow(*SIGNED_IN)],
    )
    def viewer(self) -> ViewerQuery | None:
        """Lead to the viewer's own."""
        return ViewerQuery()
