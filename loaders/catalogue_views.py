"""Read views of a snapshot: cheap objects that decode their record when first asked."""

from __future__ import annotations

from datetime import date, datetime
from typing import TYPE_CHECKING, Any

from domain.catalogue import (
    Audience,
    Category,
    Department,
    Division,
    Faq,
    Fee,
    HandlingForm,
    ItemType,
    LegalBasis,
    Level,
    Material,
    Place,
    ProjectType,
    Result,
    Step,
    TimeLimit,
)
from domain.ids import encode_node_id
from engine.typed import Typed

if TYPE_CHECKING:
    from loaders.catalogue_snapshot import CatalogueSnapshot


class CategoryView(Typed, frozen=True, eq=False):
    """One of the 21 categories; `item_count` counts what is in use anywhere."""

    node_id: str
    code: str
    name: str
    name_en: str
    item_count: int

    @classmethod
    def of(cls, category: Category, item_count: int) -> CategoryView:
        """Make the view of a category."""
        node_id = encode_node_id("Category", category.code)
        return cls(node_id, category.code, category.name, category.name_en, item_count)


class DivisionView(Typed, frozen=True, eq=False):
    """A division of one snapshot; `item_count` counts items implemented in this very division."""

    snapshot: Any
    index: int
    node_id: str
    code: str
    name: str
    level: Level
    short_name: str
    pinyin: str
    item_count: int

    @classmethod
    def of(cls, snapshot: CatalogueSnapshot, index: int, division: Division, item_count: int) -> DivisionView:
        """Make the view of a division at its place in a snapshot."""
        return cls(
            snapshot,
            index,
            encode_node_id("Division", division.code),
            division.code,
            division.name,
            division.level,
            division.short_name,
            division.pinyin,
            item_count,
        )

    @property
    def parent(self) -> DivisionView | None:
        """The division one level up, None for a root."""
        parent: DivisionView | None = self.snapshot.parent_of(self)
        return parent

    @property
    def children(self) -> list[DivisionView]:
        """The divisions one level down, ordered by code."""
        children: list[DivisionView] = self.snapshot.children_of(self)
        return children


class DepartmentView(Typed, frozen=True, eq=False):
    """A department of one snapshot; `item_count` counts the items it implements."""

    index: int
    node_id: str
    id: str
    name: str
    division: DivisionView
    credit_code: str
    item_count: int

    @classmethod
    def of(
        cls, index: int, department: Department, division: DivisionView, item_count: int
    ) -> DepartmentView:
        """Make the view of a department at its place in a snapshot."""
        node_id = encode_node_id("Department", department.id)
        given = (department.id, department.name, division, department.credit_code)
        return cls(index, node_id, *given, item_count)


class LegalBasisView:
    """An article of a law."""

    __slots__ = ("article", "id", "law", "node_id", "text")

    def __init__(self, basis: LegalBasis) -> None:
        self.node_id = encode_node_id("LegalBasis", basis.id)
        self.id = basis.id
        self.law = basis.law
        self.article = basis.article
        self.text = basis.text


_RECORD_FIELDS = (
    "id",
    "type",
    "guide_id",
    "basic_code",
    "implementation_code",
    "handling_code",
    "audiences",
    "theme_codes",
    "project_type",
    "legal_limit",
    "promised_limit",
    "online_depth",
    "visits",
    "charges_fee",
    "handling_forms",
    "online_url",
    "mobile_url",
    "version",
    "effective_on",
    "updated_at",
)
_SHARED_FIELDS = ("places", "consult", "supervise", "source")
_GUIDE_FIELDS = (
    "conditions",
    "materials",
    "steps",
    "fees",
    "legal_bases",
    "results",
    "faqs",
    "special_procedure",
)
_PLACE_FIELDS = (
    "category",
    "category_code",
    "department",
    "department_id",
    "division",
    "division_code",
    "keywords",
    "level",
    "name",
)
_LOADERS = {
    **dict.fromkeys((*_RECORD_FIELDS, "_guide", "_shared"), "_load_record"),
    **dict.fromkeys(_SHARED_FIELDS, "_load_shared"),
    **dict.fromkeys(_GUIDE_FIELDS, "_load_guide"),
    **dict.fromkeys(_PLACE_FIELDS, "_load_place"),
}


class ItemView:
    """A service item as a reader sees it: every field of ServiceItem, its relations, its guide's fields.

    Attributes are slots that stay empty until one of their group is read.
    """

    __slots__ = (
        "_guide",
        "_shared",
        "index",
        "snapshot",
        *_RECORD_FIELDS,
        *_SHARED_FIELDS,
        *_GUIDE_FIELDS,
        *_PLACE_FIELDS,
    )

    snapshot: CatalogueSnapshot
    index: int
    _guide: int
    _shared: int
    id: str
    name: str
    category_code: str
    category: CategoryView
    division_code: str
    division: DivisionView
    department_id: str
    department: DepartmentView
    level: Level
    type: ItemType
    guide_id: str
    basic_code: str
    implementation_code: str
    handling_code: str
    audiences: tuple[Audience, ...]
    theme_codes: tuple[str, ...]
    project_type: ProjectType | None
    legal_limit: TimeLimit | None
    promised_limit: TimeLimit | None
    online_depth: int | None
    visits: int | None
    charges_fee: bool | None
    handling_forms: tuple[HandlingForm, ...]
    places: tuple[Place, ...]
    online_url: str
    mobile_url: str
    consult: str
    supervise: str
    keywords: tuple[str, ...]
    source: str
    version: int
    effective_on: date | None
    updated_at: datetime | None
    conditions: str
    materials: tuple[Material, ...]
    steps: tuple[Step, ...]
    fees: tuple[Fee, ...]
    legal_bases: tuple[LegalBasisView, ...]
    results: tuple[Result, ...]
    faqs: tuple[Faq, ...]
    special_procedure: str

    def __init__(self, snapshot: CatalogueSnapshot, index: int) -> None:
        self.snapshot = snapshot
        self.index = index

    def __getattr__(self, name: str) -> Any:
        loader = _LOADERS.get(name)
        if loader is None:
            raise AttributeError(name)
        getattr(self, loader)()
        return getattr(self, name)

    @property
    def node_id(self) -> str:
        """The global id."""
        return encode_node_id("ServiceItem", self.id)

    @property
    def row_id(self) -> str:
        """The item's own id in its source system."""
        return self.id

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ItemView):
            return NotImplemented
        return self.snapshot is other.snapshot and self.index == other.index

    def __hash__(self) -> int:
        return hash((id(self.snapshot), self.index))

    def __repr__(self) -> str:
        return f"ItemView({self.id!r}, {self.name!r})"

    def _load_record(self) -> None:
        # Written out: a loop over the names takes three times as long, and a page has twenty.
        record = self.snapshot.tables.record(self.index)
        self.id = record.id
        self.type = record.type
        self.guide_id = record.guide_id
        self.basic_code = record.basic_code
        self.implementation_code = record.implementation_code
        self.handling_code = record.handling_code
        self.audiences = record.audiences
        self.theme_codes = record.theme_codes
        self.project_type = record.project_type
        self.legal_limit = record.legal_limit
        self.promised_limit = record.promised_limit
        self.online_depth = record.online_depth
        self.visits = record.visits
        self.charges_fee = record.charges_fee
        self.handling_forms = record.handling_forms
        self.online_url = record.online_url
        self.mobile_url = record.mobile_url
        self.version = record.version
        self.effective_on = record.effective_on
        self.updated_at = record.updated_at
        self._guide = record.guide
        self._shared = record.shared

    def _load_shared(self) -> None:
        shared = self.snapshot.tables.shared_part(self._shared)
        self.places = shared.places
        self.consult = shared.consult
        self.supervise = shared.supervise
        self.source = shared.source

    def _load_guide(self) -> None:
        tables = self.snapshot.tables
        guide = tables.guide(self._guide)
        self.conditions = guide.conditions
        self.materials = guide.materials
        self.steps = guide.steps
        self.fees = guide.fees
        self.legal_bases = tuple(map(LegalBasisView, tables.legal_bases_of(guide.legal_basis_ids)))
        self.results = guide.results
        self.faqs = guide.faqs
        self.special_procedure = guide.special_procedure

    def _load_place(self) -> None:
        snapshot, index = self.snapshot, self.index
        text = snapshot.tables.text(snapshot.tables.text_of(index))
        self.name = text.name
        self.keywords = text.keywords
        self.category = snapshot.category_of(index)
        self.category_code = self.category.code
        self.level = snapshot.tables.level_of(index)
        self.division = snapshot.division_of(index)
        self.division_code = self.division.code
        self.department = snapshot.department_of(index)
        self.department_id = self.department.id
