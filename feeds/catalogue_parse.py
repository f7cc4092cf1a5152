"""One raw row to one item with its guide, department and legal bases, as the mapping says."""

from __future__ import annotations

import re
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any, TypeVar
from urllib.parse import urlsplit

import msgspec
import orjson
from msgspec import Struct

from domain.catalogue import (
    CATEGORY_BY_THEME,
    DayKind,
    Department,
    Division,
    Faq,
    Fee,
    Guide,
    InvalidDivisionCodeError,
    LegalBasis,
    Material,
    MaterialFormat,
    MaterialNeed,
    MaterialSource,
    Place,
    Result,
    ResultType,
    ServiceItem,
    Step,
    TimeLimit,
    division_code,
    level_of_division,
    parent_division_code,
)
from feeds.catalogue_divisions import make_division
from feeds.catalogue_legal import MAX_CITATIONS, make_basis, parse_citations
from feeds.catalogue_mapping import VALUES, Columns, ListRule, Mapping
from feeds.catalogue_rows import RejectCode
from feeds.catalogue_text import clean_line, clean_text, shorten
from store.catalogue import content_hash

MAX_NAME = 300
MAX_TEXT = 20_000
MAX_ROWS = {"materials": 200, "steps": 60, "fees": 100, "faqs": 100}
_OTHER = "21"
_SHANGHAI = timezone(timedelta(hours=8))
_ID = re.compile(r"[\w.:|/+-]{1,64}", re.ASCII)
_SPLIT = re.compile(r"\s*[,，;；、|\n]\s*")
_SPLIT_KEYWORDS = re.compile(r"\s*[;；|\n]\s*")
_DAYS = re.compile(r"(\d{1,4})(?:\.0+)?\s*(?:个)?(工作日|自然日|天|日)?")
_COUNT = re.compile(r"(\d{1,3})(?:\.0+)?\s*[次份]?")
_DATE = re.compile(r"(\d{4})[-/.年]?(\d{1,2})[-/.月]?(\d{1,2})日?(?:[T ](\d{1,2}):(\d{2})(?::(\d{2}))?.*)?")
_CREDIT_CODE = re.compile(r"[1-9A-Z][1-9]\d{6}[0-9A-Z]{10}")
_GUIDES_KEPT = 8_192

_Struct = TypeVar("_Struct")


class RowError(Exception):
    """A row that cannot become an item; caught by the importer, which writes the reject."""

    def __init__(self, code: RejectCode, field: str, reason: str, item_id: str = "") -> None:
        super().__init__(reason)
        self.code = code
        self.field = field
        self.reason = reason
        self.item_id = item_id


class SharedGuide(Struct, frozen=True):
    """A guide with its id and the articles it cites."""

    id: str
    guide: Guide
    legal_bases: tuple[LegalBasis, ...]


class ParsedRow(Struct, frozen=True):
    """What a row means; `withdrawn`: the upstream says that the item is gone."""

    item: ServiceItem
    shared: SharedGuide
    withdrawn: bool


class RowParser:
    """Turns raw rows into items; collects departments and divisions, and counts what it had to drop.

    Not for several threads at once.
    """

    def __init__(self, mapping: Mapping, divisions: Iterable[Division]) -> None:
        self._mapping = mapping
        self._columns = {field: _columns(columns) for field, columns in mapping.fields.items()}
        self._values = {
            target: VALUES.get(target, {})
            | {
                raw: VALUES.get(target, {}).get(ours, ours)
                for raw, ours in mapping.values.get(target, {}).items()
            }
            for target in {*VALUES, *mapping.values}
        }
        guide_fields = (
            "conditions",
            "special_procedure",
            "legal_basis",
            "flow",
            "result_name",
            "result_type",
        )
        self._guide_columns = tuple(
            dict.fromkeys(
                [column for field in guide_fields for column in self._columns.get(field, ())]
                + [column for rule in mapping.lists.values() for column in _columns(rule.column)]
            )
        )
        self._guides: OrderedDict[bytes, SharedGuide] = OrderedDict()
        self.divisions = {division.code: division for division in divisions}
        self.new_divisions: dict[str, Division] = {}
        self.departments: dict[str, Department] = {}
        self.dropped: Counter[str] = Counter()

    # Reading fields

    def _raw(self, row: dict[str, Any], field: str) -> Any:
        for column in self._columns.get(field, ()):
            value = row.get(column)
            if value is not None and value != "":
                return value
        return self._mapping.constants.get(field)

    def _line(self, row: dict[str, Any], field: str, limit: int) -> str:
        text = clean_line(_text(self._raw(row, field)))
        own = self._mapping.values.get(field)
        if own is not None and field not in VALUES:
            text = own.get(text, text)
        if len(text) > limit:
            self.dropped[field + " shortened"] += 1
        return shorten(text, limit)

    def _long(self, row: dict[str, Any], field: str) -> str:
        text = clean_text(_text(self._raw(row, field)))
        if len(text) > MAX_TEXT:
            self.dropped[field + " shortened"] += 1
        return shorten(text, MAX_TEXT)

    def _value(self, text: str, target: str, field: str) -> Any:
        """Look a code up; one that nobody knows is dropped and counted."""
        if not text:
            return None
        value = self._values[target].get(text)
        if value is None:
            self.dropped[field] += 1
        return value

    def _coded(self, row: dict[str, Any], field: str, target: str) -> Any:
        return self._value(clean_line(_text(self._raw(row, field))), target, field)

    def _many(self, row: dict[str, Any], field: str, target: str) -> tuple[Any, ...]:
        raw = self._raw(row, field)
        parts = raw if isinstance(raw, list) else _SPLIT.split(_text(raw))
        values = (self._value(clean_line(_text(part)), target, field) for part in parts)
        return tuple(dict.fromkeys(value for value in values if value is not None))

    def _required(self, row: dict[str, Any], field: str, target: str, item_id: str) -> Any:
        text = clean_line(_text(self._raw(row, field)))
        if not text:
            raise RowError(RejectCode.MISSING_VALUE, field, f"no {field}", item_id)
        value = self._values[target].get(text)
        if value is None:
            raise RowError(RejectCode.INVALID_VALUE, field, f"unknown {field} {text[:40]!r}", item_id)
        return value

    # The row

    def parse(self, row: dict[str, Any]) -> ParsedRow:
        """Parse one row.

        Raises: RowError.
        """
        item_id = self._id(row)
        name = clean_line(_text(self._raw(row, "name")))
        if not name:
            raise RowError(RejectCode.MISSING_VALUE, "name", "no name", item_id)
        if len(name) > MAX_NAME:
            reason = f"a name of {len(name)} characters; {MAX_NAME} are allowed"
            raise RowError(RejectCode.TOO_LONG, "name", reason, item_id)
        division = self._division(row, item_id)
        department = self._department(row, division, item_id)
        themes = self._themes(row)
        shared = self._guide(row)
        has_level = self._raw(row, "level") is not None
        level = self._required(row, "level", "level", item_id) if has_level else level_of_division(division)
        item = ServiceItem(
            id=item_id,
            name=name,
            category_code=self.category(themes, name, department.name),
            division_code=division,
            department_id=department.id,
            level=level,
            type=self._required(row, "type", "type", item_id),
            guide_id=shared.id,
            basic_code=self._line(row, "basic_code", 64),
            implementation_code=self._line(row, "implementation_code", 64),
            handling_code=self._line(row, "handling_code", 64),
            audiences=self._many(row, "audiences", "audience"),
            theme_codes=themes,
            project_type=self._coded(row, "project_type", "project_type"),
            legal_limit=self._limit(row, "legal"),
            promised_limit=self._limit(row, "promised"),
            online_depth=self._online_depth(row),
            visits=self._count(self._raw(row, "visits"), "visits", 99),
            charges_fee=self._coded(row, "charges_fee", "flag"),
            handling_forms=self._many(row, "handling_forms", "handling_form"),
            places=self._places(row, department.name),
            online_url=self._url(row, "online_url"),
            mobile_url=self._url(row, "mobile_url"),
            consult=self._line(row, "consult", 500),
            supervise=self._line(row, "supervise", 500),
            keywords=self._keywords(row),
            source=self._line(row, "source", 100) or self._mapping.source,
            version=self._version(row, item_id),
            effective_on=self._day(row),
            updated_at=self._instant(row),
        )
        state = self._coded(row, "state", "state")
        gone = state == "WITHDRAWN" or self._coded(row, "operation", "operation") == "DELETE"
        return ParsedRow(item, shared, gone)

    def _id(self, row: dict[str, Any]) -> str:
        text = _text(self._raw(row, "id")).strip()
        if not text:
            raise RowError(RejectCode.MISSING_VALUE, "id", "no id")
        item_id = self._mapping.id_prefix + text
        if not _ID.fullmatch(item_id):
            reason = "an id has 1 to 64 letters, digits and . : | / + - _"
            raise RowError(RejectCode.INVALID_VALUE, "id", reason)
        return item_id

    def category(self, themes: tuple[str, ...], name: str, department: str) -> str:
        """Choose the category: the first theme that says more than "other", else rules, else the default."""
        by_theme = [CATEGORY_BY_THEME[theme].code for theme in themes if theme in CATEGORY_BY_THEME]
        for code in by_theme:
            if code != _OTHER:
                return code
        if by_theme:
            return _OTHER
        folded = name.lower()
        for rule in self._mapping.category.rules:
            if any(word in folded for word in rule.name):
                return rule.category
        for rule in self._mapping.category.rules:
            if any(word in department for word in rule.department):
                return rule.category
        return self._mapping.category.default

    def _themes(self, row: dict[str, Any]) -> tuple[str, ...]:
        themes: dict[str, None] = {}
        for field, kind in (("natural_themes", "N"), ("legal_themes", "L")):
            raw = self._raw(row, field)
            for part in raw if isinstance(raw, list) else _SPLIT.split(_text(raw)):
                text = _text(part).strip()
                theme = kind + text.rjust(3, "0")
                if text and theme in CATEGORY_BY_THEME:
                    themes[theme] = None
                elif text:
                    self.dropped[field] += 1
        return tuple(themes)

    def _division(self, row: dict[str, Any], item_id: str) -> str:
        names = self._columns.get("division", ())
        texts = [_text(row.get(name)).strip() for name in names] + [
            self._mapping.constants.get("division", "")
        ]
        if self._mapping.division.from_credit_code:
            credit_code = _text(self._raw(row, "department_code")).strip()
            texts.append(credit_code[2:8] if _CREDIT_CODE.fullmatch(credit_code) else "")
        given = ""
        for text in filter(None, texts):
            given = given or text
            try:
                code = division_code(text[:9] + "000" if len(text) == 12 else text)
            except InvalidDivisionCodeError:
                continue
            if code in self.divisions or self._declare(code, row):
                return code
        if not given:
            raise RowError(RejectCode.MISSING_VALUE, "division", "no division", item_id)
        raise RowError(RejectCode.UNKNOWN_DIVISION, "division", f"unknown division {given[:20]!r}", item_id)

    def _declare(self, code: str, row: dict[str, Any]) -> bool:
        """Take up a division that the row names, when its parent is known."""
        name = self._line(row, "division_name", 60)
        parent = parent_division_code(code)
        if not name or (parent is not None and parent not in self.divisions):
            return False
        self.divisions[code] = self.new_divisions[code] = make_division(code, name)
        return True

    def _department(self, row: dict[str, Any], division: str, item_id: str) -> Department:
        name = self._line(row, "department_name", 120)
        if not name:
            raise RowError(RejectCode.MISSING_VALUE, "department_name", "no department", item_id)
        code = self._line(row, "department_code", 40)
        credit_code = code if _CREDIT_CODE.fullmatch(code) else ""
        key = credit_code or content_hash(_Name(name))[:12]
        department_id = f"{division}-{key}"
        known = self.departments.get(department_id)
        if known is None:
            known = self.departments[department_id] = Department(department_id, name, division, credit_code)
        return known

    def _limit(self, row: dict[str, Any], which: str) -> TimeLimit | None:
        text = clean_line(_text(self._raw(row, which + "_days")))
        if not text:
            return None
        match = _DAYS.fullmatch(text)
        if match is None or int(match[1]) > 3650:
            self.dropped[which + "_days"] += 1
            return None
        kind = self._coded(row, which + "_kind", "day_kind")
        if kind is None:
            kind = DayKind.CALENDAR if match[2] in ("自然日", "天", "日") else DayKind.WORKING
        return TimeLimit(int(match[1]), kind, self._line(row, which + "_note", 1000))

    def _online_depth(self, row: dict[str, Any]) -> int | None:
        depth: int | None = self._coded(row, "online", "online")
        if depth is None and self._coded(row, "is_online", "flag") is False:
            return 0
        return depth

    def _count(self, raw: Any, field: str, limit: int) -> int | None:
        text = clean_line(_text(raw))
        if not text:
            return None
        match = _COUNT.fullmatch(text)
        if match is None or int(match[1]) > limit:
            self.dropped[field] += 1
            return None
        return int(match[1])

    def _places(self, row: dict[str, Any], department: str) -> tuple[Place, ...]:
        name = self._line(row, "place_name", 200) or department
        addresses = self._long(row, "address").split("\n")
        hours = self._line(row, "hours", 500)
        phone = self._line(row, "phone", 200)
        if not (addresses[0] or hours or phone):
            return ()
        return tuple(Place(name, shorten(address, 500), hours, phone) for address in addresses[:20])

    def _url(self, row: dict[str, Any], field: str) -> str:
        text = _text(self._raw(row, field)).strip().replace("&amp;", "&")
        if not text:
            return ""
        try:
            parts = urlsplit(text)
        except ValueError:
            parts = urlsplit("")
        if (
            parts.scheme not in ("http", "https")
            or not parts.hostname
            or len(text) > 2000
            or not text.isprintable()
        ):
            self.dropped[field] += 1
            return ""
        return text

    def _keywords(self, row: dict[str, Any]) -> tuple[str, ...]:
        text = self._line(row, "keywords", 1000)
        return tuple(dict.fromkeys(part[:60] for part in _SPLIT_KEYWORDS.split(text) if part))[:20]

    def _version(self, row: dict[str, Any], item_id: str) -> int:
        text = _text(self._raw(row, "version")).strip()
        if not text:
            return 1
        match = re.fullmatch(r"[vV]?(\d{1,9})(?:\.0+)?", text)
        if match is None:
            raise RowError(
                RejectCode.INVALID_VALUE, "version", f"version {text[:20]!r} is no number", item_id
            )
        return int(match[1])

    def _time(self, row: dict[str, Any], field: str) -> datetime | None:
        raw = self._raw(row, field)
        if raw is None:
            return None
        if isinstance(raw, datetime):
            return raw.replace(tzinfo=_SHANGHAI) if raw.tzinfo is None else raw
        match = _DATE.fullmatch(_text(raw).strip())
        try:
            if match is not None:
                numbers = [int(each or 0) for each in match.groups()]
                return datetime(*numbers[:3], *numbers[3:], tzinfo=_SHANGHAI)  # type: ignore[arg-type, misc]
        except ValueError:
            pass
        self.dropped[field] += 1
        return None

    def _day(self, row: dict[str, Any]) -> date | None:
        instant = self._time(row, "effective_on")
        return None if instant is None else instant.date()

    def _instant(self, row: dict[str, Any]) -> datetime | None:
        instant = self._time(row, "updated_at")
        return None if instant is None else instant.astimezone(UTC)

    # The guide

    def _guide(self, row: dict[str, Any]) -> SharedGuide:
        """Parse what implementations share; the same source columns are parsed once."""
        key = orjson.dumps([row.get(column) for column in self._guide_columns], default=str)
        found = self._guides.get(key)
        if found is not None:
            self._guides.move_to_end(key)
            return found
        bases = self._legal_bases(row)
        guide = Guide(
            conditions=self._long(row, "conditions"),
            materials=self._list(row, "materials", self._material),
            steps=self._list(row, "steps", self._step) or self._flow(row),
            fees=self._list(row, "fees", self._fee),
            legal_basis_ids=tuple(basis.id for basis in bases),
            results=self._results(row),
            faqs=self._list(row, "faqs", self._faq),
            special_procedure=self._long(row, "special_procedure"),
        )
        shared = SharedGuide(content_hash(guide), guide, bases)
        if len(key) < 1 << 16:  # a few giants must not fill the memory
            self._guides[key] = shared
            if len(self._guides) > _GUIDES_KEPT:
                self._guides.popitem(last=False)
        return shared

    def _list(
        self, row: dict[str, Any], group: str, make: Callable[[dict[str, str], str], _Struct | None]
    ) -> tuple[_Struct, ...]:
        rule = self._mapping.lists.get(group)
        if rule is None:
            return ()
        elements = self._elements(row, rule, group)
        limit = MAX_ROWS[group]
        if len(elements) > limit:
            self.dropped[group + " shortened"] += 1
        ordered = sorted(elements[:limit], key=_order)
        made = (make(element, group) for element in ordered)
        return tuple(dict.fromkeys(each for each in made if each is not None))

    def _elements(self, row: dict[str, Any], rule: ListRule, group: str) -> list[dict[str, str]]:
        raw = next((row[column] for column in _columns(rule.column) if row.get(column)), None)
        if isinstance(raw, str) and raw.lstrip()[:1] == "[":
            try:
                raw = orjson.loads(raw)
            except orjson.JSONDecodeError:
                self.dropped[group] += 1
                return []
        if not isinstance(raw, list):
            return []
        elements = []
        for element in raw:
            if not isinstance(element, dict):
                self.dropped[group] += 1
                continue
            fields = {}
            for field, columns in rule.fields.items():
                value = next(
                    (element[name] for name in _columns(columns) if element.get(name) not in (None, "")), ""
                )
                fields[field] = clean_text(_text(value))
            elements.append(fields)
        return elements

    def _material(self, each: dict[str, str], group: str) -> Material | None:
        name = _one_line(each, "name")
        if not name:
            return None
        return Material(
            name,
            self._value(each.get("need", ""), "material_need", group + ".need") or MaterialNeed.REQUIRED,
            self._value(each.get("format", ""), "material_format", group + ".format") or MaterialFormat.BOTH,
            self._value(each.get("source", ""), "material_source", group + ".source")
            or MaterialSource.APPLICANT,
            self._count(each.get("copies", ""), group + ".copies", 99),
            shorten(each.get("note", ""), 4000),
        )

    def _step(self, each: dict[str, str], group: str) -> Step | None:
        name = _one_line(each, "name")
        days = each.get("days", "")
        is_number = re.fullmatch(r"\d{1,4}(\.\d{1,2})?", days) is not None
        if days and not is_number:
            self.dropped[group + ".days"] += 1
        return (
            Step(name, shorten(each.get("note", ""), 4000), float(days) if is_number else None)
            if name
            else None
        )

    def _fee(self, each: dict[str, str], group: str) -> Fee | None:
        name, standard = _one_line(each, "name"), shorten(each.get("standard", ""), 4000)
        if not (name or standard):
            return None
        waivable = self._value(each.get("waivable", ""), "flag", group + ".waivable")
        return Fee(name or "收费", standard, shorten(each.get("basis", ""), 4000), bool(waivable))

    def _faq(self, each: dict[str, str], group: str) -> Faq | None:
        question, answer = _one_line(each, "question", 1000), shorten(each.get("answer", ""), 8000)
        return Faq(question, answer) if question and answer else None

    def _flow(self, row: dict[str, Any]) -> tuple[Step, ...]:
        raw = self._raw(row, "flow")
        if not isinstance(raw, str) or raw.lstrip()[:1] == "[":
            return ()
        lines = [line for line in clean_text(raw).split("\n") if line]
        return tuple(
            Step(shorten(line, 60), shorten(line, 4000) if len(line) > 60 else "") for line in lines[:60]
        )

    def _results(self, row: dict[str, Any]) -> tuple[Result, ...]:
        name = self._line(row, "result_name", 300)
        kind = self._coded(row, "result_type", "result_type") or ResultType.OTHER
        return (Result(name, kind),) if name else ()

    def _legal_bases(self, row: dict[str, Any]) -> tuple[LegalBasis, ...]:
        raw = self._raw(row, "legal_basis")
        if not isinstance(raw, list):
            return tuple(parse_citations(clean_text(_text(raw))))
        found: dict[str, LegalBasis] = {}
        for each in raw[:MAX_CITATIONS]:
            if isinstance(each, dict):
                texts = [
                    clean_text(_text(next((each[name] for name in names if each.get(name)), "")))
                    for names in (
                        ("law_name", "name", "law"),
                        ("article", "item", "clause"),
                        ("content", "text"),
                    )
                ]
                bases = [make_basis(*texts)] if any(texts) else []
            else:
                bases = parse_citations(clean_text(_text(each)))
            found.update((basis.id, basis) for basis in bases)
        return tuple(found.values())


class _Name(Struct, frozen=True):
    name: str


def _columns(columns: Columns) -> tuple[str, ...]:
    return (columns,) if isinstance(columns, str) else tuple(columns)


def _text(value: Any) -> str:
    """Write a cell as text: whole floats without their point, lists and objects not at all."""
    if isinstance(value, str):
        return value
    if value is None or isinstance(value, (list, dict)):
        return ""
    if isinstance(value, bool):
        return "1" if value else "0"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


def _one_line(each: dict[str, str], field: str, limit: int = 300) -> str:
    return shorten(each.get(field, "").replace("\n", " "), limit)


def _order(each: dict[str, str]) -> tuple[bool, int]:
    order = each.get("order", "")
    return (False, int(order)) if order.isascii() and order.isdigit() and len(order) < 10 else (True, 0)


def with_themes(parser: RowParser, item: ServiceItem, themes: tuple[str, ...]) -> ServiceItem:
    """Give an item other themes, and the category that goes with them."""
    department = parser.departments.get(item.department_id)
    category = parser.category(themes, item.name, department.name if department else "")
    return msgspec.structs.replace(item, theme_codes=themes, category_code=category)
