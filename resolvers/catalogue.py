"""Queries of the catalogue: thin, all answered from the snapshot that the request has pinned."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Annotated, Any, TypeVar, cast

import strawberry
from strawberry.types import Info

from domain.catalogue import CATEGORY_BY_CODE, Audience, Level, division_code
from domain.errors import DomainError
from domain.ids import InvalidNodeIdError, decode_node_id, encode_node_id, raw_id_of
from loaders.catalogue_search import SearchFilter, SearchQuery, Sort, UnknownDivisionError, check_first
from loaders.catalogue_snapshot import CatalogueSnapshot
from resolvers.access import PUBLIC_FIELD
from resolvers.caching import CATALOGUE
from resolvers.catalogue_types import (
    CatalogueStatus,
    Category,
    Department,
    Division,
    Home,
    ServiceItem,
    ServiceItemSearch,
    ServiceItemSuggestion,
)
from resolvers.context import Context
from resolvers.node import Node, PageInfo, SourceState, describe_enum

MAX_IDS = 100
_Code = TypeVar("_Code", str, str | None)


class CatalogueUnavailableError(DomainError):
    """This process has no snapshot of the catalogue yet."""

    code = "CATALOGUE_UNAVAILABLE"


class UnknownCategoryError(DomainError):
    """A code that is none of the 21 categories."""

    code = "UNKNOWN_CATEGORY"


class TooManyIdsError(DomainError):
    """More ids than one request may ask for."""

    code = "TOO_MANY_IDS"


describe_enum(
    Sort,
    "Order of the hits.",
    {
        "RELEVANCE": "Best match first; the citizen's own division before those above it.",
        "POPULARITY": "Most viewed first.",
        "NEWEST": "Last changed first.",
        "NAME": "By name.",
        "PROMISED_DAYS": "Shortest promised limit first.",
    },
)


@strawberry.type(description="One unit in a list.")
class DepartmentEdge:
    """One place in a DepartmentConnection."""

    cursor: str = strawberry.field(description="Hand it in as `after` to go on behind this unit.")
    node: Department = strawberry.field(description="The unit.")


@strawberry.type(description="A page of units, ordered by id.")
class DepartmentConnection:
    """A page of units."""

    total_count: int = strawberry.field(description="Number of units over all pages.")
    edges: list[DepartmentEdge] = strawberry.field(description="The units of this page.")
    page_info: PageInfo = strawberry.field(description="Where this page lies.")


@strawberry.input(description="What hits must have; parts that are left out do not restrict.")
class ServiceItemFilter:
    """Turned into a SearchFilter."""

    category_codes: list[str] | None = strawberry.field(
        default=None, description="Any of these categories, at most 21."
    )
    division_code: str | None = strawberry.field(
        default=None,
        description="The citizen's division (6 or 9 digits; 12 accepted): items of it, of those above it and "
        "of those below it, in that order.",
    )
    levels: list[Level] | None = strawberry.field(default=None, description="Any of these levels.")
    department_ids: list[strawberry.ID] | None = strawberry.field(
        default=None, description="Any of these units, at most 100."
    )
    audience: Audience | None = strawberry.field(default=None, description="Serves this audience.")
    online_depth: int | None = strawberry.field(
        default=None, description="Goes online at least this deep, 0 to 4."
    )

    def to_search_filter(self) -> SearchFilter:
        """Check the codes and give what the snapshot takes.

        Raises: InvalidDivisionCodeError, UnknownCategoryError, TooManyIdsError.
        """
        department_ids = self.department_ids or []
        check_ids(department_ids)
        return SearchFilter(
            category_codes=tuple(known_category(code) for code in self.category_codes or ()),
            division_code=house_code(self.division_code),
            levels=tuple(self.levels or ()),
            department_ids=tuple(raw_id_of("Department", unit) for unit in department_ids),
            audience=self.audience,
            online_depth=self.online_depth,
        )


def snapshot_of(info: Info[Context, None]) -> CatalogueSnapshot:
    """Give the snapshot the request has pinned.

    Raises: CatalogueUnavailableError.
    """
    snapshot = info.context.catalogue
    if snapshot is None:
        raise CatalogueUnavailableError
    return snapshot


def known_category(code: _Code) -> _Code:
    """Give a category's code back when there is such a category. Raises: UnknownCategoryError."""
    if code is not None and code not in CATEGORY_BY_CODE:
        raise UnknownCategoryError(code=code[:20])
    return code


def house_code(text: str | None) -> str | None:
    """Bring a client's division code to the house's form. Raises: InvalidDivisionCodeError."""
    return None if text is None else division_code(text)


def list_departments(
    snapshot: CatalogueSnapshot, division: str | None, first: int, after: str | None
) -> DepartmentConnection:
    """Page through the units of a division, or of all, by id.

    Raises: InvalidPageSizeError, UnknownDivisionError, InvalidNodeIdError.
    """
    check_first(first)
    if division is not None and snapshot.division(division) is None:
        raise UnknownDivisionError(code=division)
    units = [unit for unit in snapshot.departments if division is None or unit.division.code == division]
    start = 0
    if after is not None:
        type_name, raw_id = decode_node_id(after)
        if type_name != "DepartmentCursor":
            raise InvalidNodeIdError(id=after[:80])
        start = bisect_right(units, raw_id, key=lambda unit: unit.id)
    page = units[start : start + first]
    edges = [
        DepartmentEdge(cursor=encode_node_id("DepartmentCursor", unit.id), node=cast("Department", unit))
        for unit in page
    ]
    return DepartmentConnection(
        total_count=len(units),
        edges=edges,
        page_info=PageInfo(
            has_next_page=start + first < len(units),
            has_previous_page=after is not None,
            start_cursor=edges[0].cursor if edges else None,
            end_cursor=edges[-1].cursor if edges else None,
        ),
    )


def find_node(snapshot: CatalogueSnapshot, node_id: str) -> Any:
    """Find any object of the catalogue by its global id; None when there is none.

    Raises: InvalidNodeIdError.
    """
    type_name, raw_id = decode_node_id(node_id)
    finders: dict[str, Callable[[str], object]] = {
        "ServiceItem": snapshot.item,
        "Category": snapshot.category,
        "Division": snapshot.division,
        "Department": snapshot.department,
        "LegalBasis": snapshot.legal_basis,
    }
    find = finders.get(type_name)
    return None if find is None else find(raw_id)


def check_ids(ids: Sequence[str]) -> None:
    """Refuse too many ids. Raises: TooManyIdsError."""
    if len(ids) > MAX_IDS:
        raise TooManyIdsError(count=len(ids), maximum=MAX_IDS)


def catalogue_status(info: Info[Context, None]) -> CatalogueStatus:
    """Describe the pinned snapshot and how far the store confirms it."""
    snapshot = snapshot_of(info)
    freshness = info.context.catalogue_freshness()
    confirmed_at: datetime | None = freshness.confirmed_at if freshness else None
    stale = freshness is None or freshness.is_stale
    chinese = info.context.language == "zh"
    reason = (
        "暂时无法确认是否为最新版本" if chinese else "It cannot be confirmed that this is the newest version"
    )
    return CatalogueStatus(
        source="catalogue",
        observed_at=confirmed_at,
        state=SourceState.STALE if stale else SourceState.LIVE,
        reason=reason if stale else None,
        version=snapshot.version,
        built_at=snapshot.built_at,
        age_s=max(0, int((info.context.now - (confirmed_at or snapshot.built_at)).total_seconds())),
        item_count=snapshot.item_count,
    )


_First = Annotated[int, strawberry.argument(description="How many, 1 to 100.")]
_DivisionCode = Annotated[
    str | None,
    strawberry.argument(
        description="The citizen's division, 6 or 9 digits (12 accepted); null for the whole province."
    ),
]
_CategoryCode = Annotated[str | None, strawberry.argument(description="Only this category; null for all.")]
_After = Annotated[
    str | None, strawberry.argument(description="Cursor of the last hit seen; null for the first page.")
]
_NodeIdArgument = Annotated[strawberry.ID, strawberry.argument(description="Global id of an object.")]


@strawberry.type
class CatalogueQuery:
    """The catalogue's part of the root of Query.

    `service_item` counts a view, so its answers may not be kept; `node` and `nodes` may lead to objects of
    any owner.
    """

    @strawberry.field(
        description="The 21 categories, in order.", directives=[CATALOGUE], metadata={"list_size": 21}
    )
    def categories(self, info: Info[Context, None]) -> list[Category]:
        """List the categories."""
        return cast("list[Category]", snapshot_of(info).categories)

    @strawberry.field(
        description="One item; null when there is none, or it is withdrawn.",
        metadata=PUBLIC_FIELD,
    )
    def service_item(
        self,
        info: Info[Context, None],
        id: Annotated[strawberry.ID, strawberry.argument(description="Global id or row id of the item.")],
    ) -> ServiceItem | None:
        """Find an item and count that it was looked at."""
        item = snapshot_of(info).item(raw_id_of("ServiceItem", id))
        if item is not None:
            info.context.views.count(item.id)
        return cast("ServiceItem | None", item)

    @strawberry.field(
        description="Several items in the order asked; null where there is none.", directives=[CATALOGUE]
    )
    def service_items(
        self,
        info: Info[Context, None],
        ids: Annotated[
            list[strawberry.ID], strawberry.argument(description="Global ids or row ids, at most 100.")
        ],
    ) -> list[ServiceItem | None]:
        """Find items by id."""
        check_ids(ids)
        found = snapshot_of(info).items(raw_id_of("ServiceItem", item_id) for item_id in ids)
        return cast("list[ServiceItem | None]", found)

    @strawberry.field(
        description="Search items as people type: parts of words, other names, pinyin, initials, one slip. "
        "Empty text lists what the filter allows.",
        directives=[CATALOGUE],
    )
    def search_service_items(
        self,
        info: Info[Context, None],
        text: Annotated[
            str,
            strawberry.argument(description="What was typed, at most 300 characters."),
        ] = "",
        filter: Annotated[
            ServiceItemFilter | None,
            strawberry.argument(description="What hits must have."),
        ] = None,
        sort: Annotated[Sort, strawberry.argument(description="Order of the hits.")] = Sort.RELEVANCE,
        first: _First = 20,
        after: _After = None,
    ) -> ServiceItemSearch:
        """Search the snapshot."""
        wanted = SearchFilter() if filter is None else filter.to_search_filter()
        page = snapshot_of(info).search(SearchQuery(text, wanted, sort, first, after))
        return cast("ServiceItemSearch", page)

    @strawberry.field(description="Complete what is being typed to names of items.", directives=[CATALOGUE])
    def suggest_service_items(
        self,
        info: Info[Context, None],
        prefix: Annotated[str, strawberry.argument(description="What was typed, at most 300 characters.")],
        division_code: _DivisionCode = None,
        first: _First = 10,
    ) -> list[ServiceItemSuggestion]:
        """Suggest names."""
        found = snapshot_of(info).suggest(prefix, house_code(division_code), first)
        return cast("list[ServiceItemSuggestion]", found)

    @strawberry.field(
        description="What people look at most, each service once, nearest implementation.",
        directives=[CATALOGUE],
    )
    def popular_service_items(
        self,
        info: Info[Context, None],
        division_code: _DivisionCode = None,
        category_code: _CategoryCode = None,
        first: _First = 20,
    ) -> list[ServiceItem]:
        """List popular items."""
        category = known_category(category_code)
        items = snapshot_of(info).popular(house_code(division_code), category, first)
        return cast("list[ServiceItem]", items)

    @strawberry.field(
        description="What changed last, each service once, nearest implementation.", directives=[CATALOGUE]
    )
    def newest_service_items(
        self,
        info: Info[Context, None],
        division_code: _DivisionCode = None,
        category_code: _CategoryCode = None,
        first: _First = 20,
    ) -> list[ServiceItem]:
        """List the newest items."""
        category = known_category(category_code)
        items = snapshot_of(info).newest(house_code(division_code), category, first)
        return cast("list[ServiceItem]", items)

    @strawberry.field(
        description="The divisions right below one; with null the provinces.",
        directives=[CATALOGUE],
        metadata={"list_size": 20},
    )
    def divisions(
        self,
        info: Info[Context, None],
        parent_code: Annotated[
            str | None, strawberry.argument(description="Code of the division above; null for the top.")
        ] = None,
    ) -> list[Division]:
        """List divisions."""
        snapshot = snapshot_of(info)
        code = house_code(parent_code)
        if code is None:
            return cast("list[Division]", snapshot.roots)
        parent = snapshot.division(code)
        if parent is None:
            raise UnknownDivisionError(code=code)
        return cast("list[Division]", parent.children)

    @strawberry.field(
        description="One division; null when the code is well-formed but unknown.", directives=[CATALOGUE]
    )
    def division(
        self,
        info: Info[Context, None],
        code: Annotated[str, strawberry.argument(description="2, 4, 6, 9 or 12 digits.")],
    ) -> Division | None:
        """Find a division."""
        return cast("Division | None", snapshot_of(info).division(division_code(code)))

    @strawberry.field(description="Units that implement items, ordered by id.", directives=[CATALOGUE])
    def departments(
        self,
        info: Info[Context, None],
        division_code: Annotated[
            str | None, strawberry.argument(description="Only units of this very division; null for all.")
        ] = None,
        first: _First = 20,
        after: _After = None,
    ) -> DepartmentConnection:
        """Page through units."""
        return list_departments(snapshot_of(info), house_code(division_code), first, after)

    @strawberry.field(description="One unit; null when there is none.", directives=[CATALOGUE])
    def department(
        self,
        info: Info[Context, None],
        id: Annotated[strawberry.ID, strawberry.argument(description="Global id or the unit's own id.")],
    ) -> Department | None:
        """Find a unit."""
        return cast("Department | None", snapshot_of(info).department(raw_id_of("Department", id)))

    @strawberry.field(description="The first screen of the app in one piece.", directives=[CATALOGUE])
    def home(
        self,
        info: Info[Context, None],
        division_code: _DivisionCode = None,
        first: Annotated[int, strawberry.argument(description="Items per list, 1 to 100.")] = 8,
    ) -> Home:
        """Gather the first screen."""
        snapshot, division = snapshot_of(info), house_code(division_code)
        return Home(
            categories=cast("list[Category]", snapshot.categories),
            popular=cast("list[ServiceItem]", snapshot.popular(division, None, first)),
            newest=cast("list[ServiceItem]", snapshot.newest(division, None, first)),
            catalogue_status=catalogue_status(info),
        )

    @strawberry.field(
        description="Which catalogue is served, and how far it can be trusted.",
        metadata=PUBLIC_FIELD,
    )
    def catalogue_status(self, info: Info[Context, None]) -> CatalogueStatus:
        """Describe the served catalogue."""
        return catalogue_status(info)

    @strawberry.field(
        description="Any object by its global id; null when there is none.",
        metadata=PUBLIC_FIELD,
    )
    def node(self, info: Info[Context, None], id: _NodeIdArgument) -> Node | None:
        """Find an object."""
        return cast("Node | None", find_node(snapshot_of(info), id))

    @strawberry.field(
        description="Several objects in the order asked; null where there is none.",
        metadata=PUBLIC_FIELD,
    )
    def nodes(
        self,
        info: Info[Context, None],
        ids: Annotated[list[strawberry.ID], strawberry.argument(description="Global ids, at most 100.")],
    ) -> list[Node | None]:
        """Find objects."""
        check_ids(ids)
        snapshot = snapshot_of(info)
        return [cast("Node | None", find_node(snapshot, node_id)) for node_id in ids]
