"""Units and classes of complaints in GraphQL: public names, guessing the class and the unit."""

from __future__ import annotations

from bisect import bisect_right
from typing import Annotated

import strawberry
from strawberry.types import Info

from domain import complaint_classes as classes_domain
from domain import units as domain
from domain.catalogue import Level, division_code
from domain.ids import InvalidNodeIdError, decode_node_id, encode_node_id, raw_id_of
from domain.units import SuggestedFor, UnitKind
from loaders.catalogue_search import check_first, check_text
from loaders.reference import ReferenceUnavailableError
from loaders.units import Units
from resolvers.access import PUBLIC_FIELD
from resolvers.context import Context
from resolvers.node import Node, PageInfo, describe_enum

_CURSOR = "UnitCursor"
_SUGGESTING = {**PUBLIC_FIELD, "cost": 10}

describe_enum(
    UnitKind,
    "What a unit is.",
    {
        "CENTRE": "A 12345 centre, which takes complaints in and watches over them.",
        "DEPARTMENT": "A department.",
        "GOVERNMENT": "A government, from the province down to a township or street.",
        "ENTERPRISE": "A company that supplies water, power, gas, buses and the like.",
    },
)
describe_enum(
    SuggestedFor,
    "Why a unit is suggested.",
    {
        "ENVIRONMENTAL_AUTHORITY": "The class is about the environment; this is the authority for it.",
        "DUTY": "It has this duty in the division, or in one above it.",
        "EXPERIENCE": "It has answered such complaints before.",
        "GOVERNMENT": "Nobody has the duty, so the government of the division is asked.",
    },
)


@strawberry.type(description="A unit that answers complaints.")
class Unit(Node):
    """Shows a domain Unit."""

    key: str = strawberry.field(description="Its id in the table of units, at most 64 characters.")
    name: str = strawberry.field(description="Name in Chinese.")
    name_en: str | None = strawberry.field(description="Name in English; null: there is none.")
    kind: UnitKind = strawberry.field(description="What it is.")
    level: Level = strawberry.field(description="Province, city, county or township.")
    division_code: str = strawberry.field(description="Code of its division, 6 or 9 digits.")
    hours: str | None = strawberry.field(description="When it is open, for people; null: not stated.")
    phone: str | None = strawberry.field(description="Telephone; null: not stated.")
    is_environmental: bool = strawberry.field(description="Whether it is an environmental authority.")
    is_active: bool = strawberry.field(description="Whether it still exists.")
    parent_key: strawberry.Private[str | None]

    @strawberry.field(description="The unit above it in its own line; null above the highest.")
    def parent(self, info: Info[Context, None]) -> Unit | None:
        """Find the unit above."""
        return show_unit(units_of(info), self.parent_key)

    @classmethod
    def of(cls, unit: domain.Unit) -> Unit:
        """Show a unit."""
        return cls(
            node_id=strawberry.ID(encode_node_id("Unit", unit.id)),
            key=unit.id,
            name=unit.name,
            name_en=unit.name_en,
            kind=unit.kind,
            level=unit.level,
            division_code=unit.division_code,
            hours=unit.hours or None,
            phone=unit.phone or None,
            is_environmental=unit.is_environmental,
            is_active=unit.is_active,
            parent_key=unit.parent_id,
        )


@strawberry.type(description="One unit in a list.")
class UnitEdge:
    """One place in a UnitConnection."""

    cursor: str = strawberry.field(description="Hand it in as `after` to go on behind this unit.")
    node: Unit = strawberry.field(description="The unit.")


@strawberry.type(description="A page of units, ordered by key.")
class UnitConnection:
    """A page of units."""

    total_count: int = strawberry.field(description="Number of units over all pages.")
    edges: list[UnitEdge] = strawberry.field(description="The units of this page.")
    page_info: PageInfo = strawberry.field(description="Where this page lies.")


@strawberry.type(description="What complaints are about: a class, or the group of several.")
class ComplaintClass:
    """Shows a domain ComplaintClass."""

    code: str = strawberry.field(description="Two digits for a group, four for a class.")
    group_code: str | None = strawberry.field(description="The group of a class; null for a group.")
    name: str = strawberry.field(description="Name in Chinese.")
    name_en: str = strawberry.field(description="Name in English; empty: there is none.")
    is_convenience: bool = strawberry.field(
        description="Whether it is on the list of convenience services, with the shorter limit."
    )
    is_environmental: bool = strawberry.field(description="Whether the environmental authority answers.")

    @classmethod
    def of(cls, each: classes_domain.ComplaintClass) -> ComplaintClass:
        """Show a class."""
        return cls(
            code=each.code,
            group_code=each.parent_code,
            name=each.name,
            name_en=each.name_en,
            is_convenience=each.is_convenience,
            is_environmental=each.is_environmental,
        )


@strawberry.type(description="A unit that may be responsible.")
class UnitSuggestion:
    """Shows a domain Suggestion."""

    unit: Unit = strawberry.field(description="The unit.")
    reason: SuggestedFor = strawberry.field(description="Why it is suggested.")
    score: float = strawberry.field(
        description="The higher the likelier: duty, nearness of the level, past outcomes."
    )

    @classmethod
    def of(cls, suggestion: domain.Suggestion) -> UnitSuggestion:
        """Show a suggestion."""
        return cls(unit=Unit.of(suggestion.unit), reason=suggestion.reason, score=suggestion.score)


def units_of(info: Info[Context, None]) -> Units:
    """Give the units that this process serves. Raises: ReferenceUnavailableError where it has none."""
    units = info.context.stores.units
    if units is None:
        raise ReferenceUnavailableError(list="units")
    return units


def show_unit(units: Units, unit_id: str | None) -> Unit | None:
    """Show a unit by its raw id, closed ones too; None for None and for an id that names none."""
    unit = None if unit_id is None else units.tree.find(unit_id)
    return None if unit is None else Unit.of(unit)


def raw_unit_id(id: str) -> str:
    """Give the raw id behind a unit's global id; a raw id is taken as well."""
    return raw_id_of("Unit", id[:200])


_First = Annotated[int, strawberry.argument(description="How many, 1 to 10.")]


@strawberry.type
class UnitsQuery:
    """The units' part of the root of Query."""

    @strawberry.field(
        description="Units that answer complaints, ordered by key; closed ones are left out.",
        metadata=PUBLIC_FIELD,
    )
    def units(
        self,
        info: Info[Context, None],
        division: Annotated[
            str | None, strawberry.argument(description="Of this division only; null: of all.")
        ] = None,
        kind: Annotated[
            UnitKind | None, strawberry.argument(description="Of this kind only; null: of all.")
        ] = None,
        below: Annotated[
            bool, strawberry.argument(description="Whether units of divisions below it count too.")
        ] = False,
        first: Annotated[int, strawberry.argument(description="How many, 1 to 100.")] = 20,
        after: Annotated[
            str | None, strawberry.argument(description="Cursor of the last one seen; null: the first page.")
        ] = None,
    ) -> UnitConnection:
        """Page through units. Raises: InvalidPageSizeError, InvalidDivisionCodeError, InvalidNodeIdError."""
        check_first(first)
        code = None if division is None else division_code(division)
        found = units_of(info).tree.select(code, kind, below=below)
        start = 0
        if after is not None:
            type_name, raw_id = decode_node_id(after[:200])
            if type_name != _CURSOR:
                raise InvalidNodeIdError(id=after[:80])
            start = bisect_right(found, raw_id, key=lambda unit: unit.id)
        edges = [
            UnitEdge(cursor=encode_node_id(_CURSOR, unit.id), node=Unit.of(unit))
            for unit in found[start : start + first]
        ]
        page = PageInfo(
            has_next_page=start + first < len(found),
            has_previous_page=after is not None,
            start_cursor=edges[0].cursor if edges else None,
            end_cursor=edges[-1].cursor if edges else None,
        )
        return UnitConnection(total_count=len(found), edges=edges, page_info=page)

    @strawberry.field(
        description="One unit, also when it is closed; null when there is none.", metadata=PUBLIC_FIELD
    )
    def unit(
        self,
        info: Info[Context, None],
        id: Annotated[strawberry.ID, strawberry.argument(description="Global id of the unit, or its key.")],
    ) -> Unit | None:
        """Find a unit."""
        return show_unit(units_of(info), raw_unit_id(id))

    @strawberry.field(
        description="What complaints are about: the classes of a group, or the groups.",
        metadata=PUBLIC_FIELD,
    )
    def complaint_classes(
        self,
        info: Info[Context, None],
        group: Annotated[
            str | None, strawberry.argument(description="Two digits of a group; null: the groups.")
        ] = None,
    ) -> list[ComplaintClass]:
        """List groups or classes."""
        classes = units_of(info).classes
        found = classes.groups if group is None else classes.children(group)
        return [ComplaintClass.of(each) for each in found]

    @strawberry.field(
        description="Classes that a text may be about, the likeliest first; empty when no word is known.",
        metadata=_SUGGESTING,
    )
    def suggest_complaint_classes(
        self,
        info: Info[Context, None],
        text: Annotated[str, strawberry.argument(description="What it is about, at most 300 characters.")],
        first: _First = 3,
    ) -> list[ComplaintClass]:
        """Guess. Raises: TextTooLongError, InvalidPageSizeError."""
        check_text(text)
        check_first(first)
        classes = units_of(info).classes
        return [ComplaintClass.of(classes.get(code)) for code in classes.suggest(text, first)]

    @strawberry.field(
        description="The units that may answer for a class in a division, the likeliest first; null, with "
        "UNKNOWN_COMPLAINT_CLASS, for a code that is none.",
        metadata=_SUGGESTING,
    )
    async def responsible_units(
        self,
        info: Info[Context, None],
        class_code: Annotated[str, strawberry.argument(description="Four digits of a class.")],
        division: Annotated[str, strawberry.argument(description="Code of the division, 6 or 9 digits.")],
        first: _First = 3,
    ) -> list[UnitSuggestion] | None:
        """Rank. Raises: UnknownClassError, InvalidDivisionCodeError, InvalidPageSizeError."""
        check_first(first)
        found = await units_of(info).suggest(class_code, division_code(division), first)
        return [UnitSuggestion.of(each) for each in found]
