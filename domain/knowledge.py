"""The knowledge base (即问即答): guides that answer simple questions at once, and the steps of their life.

Staff work on `content`; readers see `published`, which changes only when somebody publishes. `version` counts
every change and is what a change must name, so that nobody writes over what they have not seen.
"""

from __future__ import annotations

from datetime import date, datetime
from enum import StrEnum
from typing import Any, Final

from msgspec import UNSET, Struct, UnsetType
from msgspec.structs import replace

from domain.access import is_within
from domain.catalogue import Level, division_code, level_of_division
from domain.complaint_classes import ClassList
from domain.errors import DomainError
from domain.text import compact, fold, terms

MAX_QUESTION: Final = 200
MAX_ANSWER: Final = 5_000
MAX_ITEMS: Final = 20
MAX_KEYWORDS: Final = 30
MAX_KEYWORD: Final = 40


class GuideState(StrEnum):
    """Where a guide is in its life."""

    DRAFT = "DRAFT"
    PUBLISHED = "PUBLISHED"
    RETIRED = "RETIRED"


class GuideAction(StrEnum):
    """What staff do with a guide."""

    CREATE = "CREATE"
    REVISE = "REVISE"
    PUBLISH = "PUBLISH"
    CONFIRM = "CONFIRM"
    """It was looked at again and still holds."""
    RETIRE = "RETIRE"


TRANSITIONS: Final[dict[tuple[GuideState | None, GuideAction], GuideState]] = {
    (None, GuideAction.CREATE): GuideState.DRAFT,
    (GuideState.DRAFT, GuideAction.REVISE): GuideState.DRAFT,
    (GuideState.DRAFT, GuideAction.PUBLISH): GuideState.PUBLISHED,
    (GuideState.DRAFT, GuideAction.RETIRE): GuideState.RETIRED,
    (GuideState.PUBLISHED, GuideAction.REVISE): GuideState.PUBLISHED,
    (GuideState.PUBLISHED, GuideAction.PUBLISH): GuideState.PUBLISHED,
    (GuideState.PUBLISHED, GuideAction.CONFIRM): GuideState.PUBLISHED,
    (GuideState.PUBLISHED, GuideAction.RETIRE): GuideState.RETIRED,
    (GuideState.RETIRED, GuideAction.REVISE): GuideState.DRAFT,
}


class GuideNotFoundError(DomainError):
    """An id that names no guide, or none that the asker may see."""

    code = "GUIDE_NOT_FOUND"


class GuideChangedError(DomainError):
    """Somebody else has changed the guide meanwhile; `version` is the present one."""

    code = "GUIDE_CHANGED"


class GuideStepError(DomainError):
    """The state of a guide does not allow an action."""

    code = "GUIDE_STEP_NOT_ALLOWED"


class InvalidGuideError(DomainError):
    """A part of a guide is missing, too long or names nothing; `field` says which."""

    code = "INVALID_GUIDE"


class GuideOutOfScopeError(DomainError):
    """Staff write guides for their own division and those below it."""

    code = "GUIDE_OUT_OF_SCOPE"


class GuideContent(Struct, frozen=True):
    """What a guide says; without a division it holds everywhere. `item_ids` are items of the catalogue."""

    question: str
    answer: str
    class_code: str | None = None
    division_code: str | None = None
    item_ids: tuple[str, ...] = ()
    keywords: tuple[str, ...] = ()


class Guide(Struct, frozen=True):
    """A guide; `published` is what readers see, None before the first publication and after retiring.

    `review_by`: when somebody has to look whether it still holds.
    """

    id: str
    version: int
    state: GuideState
    content: GuideContent
    updated_at: datetime
    published: GuideContent | None = None
    published_at: datetime | None = None
    review_by: date | None = None

    @property
    def has_unpublished(self) -> bool:
        """Tell whether readers do not see the newest content."""
        return self.content != self.published


class GuideChange(Struct, frozen=True):
    """One entry of a guide's history; `content` is there when the change brought one."""

    version: int
    action: GuideAction
    at: datetime
    account: str
    unit: str | None = None
    content: GuideContent | None = None


def check_content(content: GuideContent, classes: ClassList) -> GuideContent:
    """Give a content with blanks trimmed and codes in the house's form.

    Raises: InvalidGuideError naming the field.
    """
    question, answer = content.question.strip(), content.answer.strip()
    keywords = tuple(dict.fromkeys(each.strip() for each in content.keywords))
    faults = {
        "question": not 1 <= len(question) <= MAX_QUESTION,
        "answer": not 1 <= len(answer) <= MAX_ANSWER,
        "itemIds": len(content.item_ids) > MAX_ITEMS
        or not all(1 <= len(each) <= 64 for each in content.item_ids),
        "keywords": len(keywords) > MAX_KEYWORDS
        or not all(1 <= len(each) <= MAX_KEYWORD for each in keywords),
    }
    found = None if content.class_code is None else classes.find(content.class_code)
    faults["classCode"] = content.class_code is not None and found is None
    for field, is_wrong in faults.items():
        if is_wrong:
            raise InvalidGuideError(field=field)
    try:
        division = None if content.division_code is None else division_code(content.division_code)
    except DomainError as error:
        raise InvalidGuideError(field="divisionCode") from error
    return GuideContent(
        question, answer, content.class_code, division, tuple(dict.fromkeys(content.item_ids)), keywords
    )


def check_scope(content: GuideContent, scope: str | None) -> None:
    """Refuse a content beyond a member of staff's division; scope None is an operator's, without bounds.

    What holds everywhere is the province's. Raises: GuideOutOfScopeError.
    """
    if scope is None or level_of_division(scope) is Level.PROVINCE:
        return
    if content.division_code is None or not is_within(content.division_code, scope):
        raise GuideOutOfScopeError(field="divisionCode")


def next_state(state: GuideState | None, action: GuideAction) -> GuideState:
    """Give the state that an action leads to. Raises: GuideStepError."""
    following = TRANSITIONS.get((state, action))
    if following is None:
        raise GuideStepError(state=state.value if state else "", action=action.value)
    return following


def apply(
    guide: Guide,
    action: GuideAction,
    *,
    now: datetime,
    content: GuideContent | None = None,
    review_by: date | UnsetType | None = UNSET,
) -> Guide:
    """Take one step: the guide with its next version.

    `content` goes with REVISE; `review_by` is kept where it is not given. Raises: GuideStepError.
    """
    state = next_state(guide.state, action)
    changes: dict[str, Any] = {"version": guide.version + 1, "state": state, "updated_at": now}
    if review_by is not UNSET:
        changes["review_by"] = review_by
    if action is GuideAction.REVISE and content is not None:
        changes["content"] = content
    if action is GuideAction.PUBLISH:
        changes.update(published=guide.content, published_at=now)
    if state is GuideState.RETIRED:
        changes.update(published=None, published_at=None)
    return replace(guide, **changes)


def grams(text: str) -> list[str]:
    """Cut a text into what is compared: pairs of Chinese characters, whole Latin words and numbers."""
    found: list[str] = []
    for term in terms(fold(text)):
        run, word = "", ""
        for character in term:
            if character.isascii():
                found += _pairs(run)
                run, word = "", word + character
            else:
                if word:
                    found.append(word)
                run, word = run + character, ""
        found += _pairs(run)
        if word:
            found.append(word)
    return found


def _pairs(run: str) -> list[str]:
    if len(run) < 2:
        return [run] if run else []
    return [run[index : index + 2] for index in range(len(run) - 1)]


def same_question(text: str, question: str) -> bool:
    """Tell whether two questions are the same but for blanks, width, case and the question mark."""
    return "".join(terms(compact(fold(text)))) == "".join(terms(compact(fold(question))))
