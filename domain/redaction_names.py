"""Names of people in a folded text, found by what stands around them.

A name is a surname and one or two characters more. What stands before it decides how sure it must look by
itself: after 姓名 anything goes, after 被 only what is no word and made of characters that names are made
of. Words and their bounds come from the dictionary of jieba, without its guesses at unknown words.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from enum import IntEnum
from typing import Final

from domain.redaction_rules import Span, union
from domain.redaction_words import (
    COMPOUND_SURNAMES,
    FOLLOWS,
    FOREIGN,
    FREQUENT_SURNAMES,
    GIVEN,
    LABELS,
    NEVER_ALONE,
    NEVER_GIVEN,
    PARTICLES,
    RARE_SURNAMES,
    ROLES,
    STOP,
    SURNAMES,
    TITLES,
    VERBS,
    WORDS_TOO,
)


def _any_of(words: Iterable[str]) -> str:
    return f"(?:{'|'.join(sorted(words, key=len, reverse=True))})"


_TITLE: Final = re.compile(
    _any_of(TITLES) + r"|副?总(?=[，。、,;；！!？?）) \n说的也答要不没是在很都就让叫只会还带让]|$)"
)
_FOLLOWS: Final = re.compile(rf"{_any_of((*TITLES, *FOLLOWS))}|[0-9]")
_PLACES: Final = frozenset("省市区县镇乡村屯庄街路巷弄道桥山岭湖河江溪湾岛港站馆楼园苑府城寺庙宫祠厝坊厂店")
"""What makes a place of what stands before it."""
_HAN: Final = re.compile("[\u3400-\u9fff]")
_LATIN: Final = re.compile(
    r"[A-Z][a-z]{1,15}(?: [A-Z][a-z]{1,15}){0,2}(?![A-Za-z])|[A-Z][a-z]{1,15}(?![A-Za-z])"
)
_DOTTED: Final = re.compile(r"[\u3400-\u9fff]{2,7}[·•・][\u3400-\u9fff]{2,8}")
_SOUNDS: Final = f"[{''.join(sorted(FOREIGN))}]"
_FOREIGN: Final = re.compile(f"{_SOUNDS}{{3,7}}")
_FOREIGN_DOTTED: Final = re.compile(f"{_SOUNDS}{{2,8}}[·•・]{_SOUNDS}{{2,8}}")
"""A dot alone is also in names of housing estates."""
_AND: Final = re.compile("[、,，和与及跟]")


class _Trust(IntEnum):
    """How much the words before a name say that one follows."""

    LABEL = 3
    """It is called a name: 姓名, 联系人, 我叫."""
    ROLE = 2
    """It is somebody: 司机, 儿子, 工作人员."""
    VERB = 1
    """Something was done to it that is done to people, and to others: 被, 投诉."""
    SELF = 0
    """我是: mostly something else than a name."""


_BETWEEN: Final = r"(?:[ \t]?[:：]?[ \t]?(?:名?叫做?|是|为|名)?[ \t:：,，“\"(（【]{0,2})"
_SURNAMED: Final = re.compile(
    r"(?<![同百贵尊])姓([\u3400-\u9fff])(?![\u3400-\u9fff])|(?<=[个位人名])姓([\u3400-\u9fff])(?=的)"
)
_KIN: Final = "[我他她](?:爸爸?|妈妈?|哥哥?|姐姐?|弟弟?|妹妹?|叔叔?|姨|舅舅?|姑姑?|公公|婆婆)"
_CUES: Final = (
    (_Trust.LABEL, re.compile(_any_of(LABELS) + _BETWEEN)),
    (_Trust.ROLE, re.compile(f"(?:{_any_of(ROLES)}|{_KIN}){_BETWEEN}")),
    (_Trust.ROLE, re.compile("\ue009[、和与及跟]")),
    (_Trust.ROLE, re.compile(r"(?<=[\u3400-\u9fff][人者员方师主])[ \t]?[:：][ \t]?")),
    (_Trust.VERB, re.compile("(?<=[\u3400-\u9fff][员师工匠嫂])(?=[\u3400-\u9fff])")),
    (_Trust.VERB, re.compile("(?:打|转|汇|退|还)(?:到|给|入)")),
    (_Trust.VERB, re.compile(_any_of(VERBS) + "(?:了|过)?")),
    (_Trust.SELF, re.compile("(?:我是|我就是|这里是|此致[ \t\n]*敬礼[!！。]?[ \t\n]*)")),
)
_NUMBERS_FOLLOW: Final = re.compile(
    r"[ \t,，:：、;；(（]{0,3}(?:的?(?:联系)?(?:电话|手机|方式|号码|身份证|微信)号?码?[是为]?)?"
    r"[ \t,，:：]{0,2}[\ue000-\ue005]"
)
_SEX_FOLLOWS: Final = re.compile(
    r"[ \t]?[,，、(（/ ][ \t]?[男女](?![\u3400-\u9fff])|[ \t]?[,，、(（][ \t]?[0-9]{1,3}岁"
)
_ACTS: Final = re.compile(
    "投诉|举报|反映|称|承诺|答应|拒不|多次|私自|擅自|辱骂|殴打|殴|骂|骗|威胁|恐吓|家(?:的|里|门口|楼下|漏水)|"
    "(?:是|为)(?:我|本|村|该|一名|一个|一位|退休|低保)|这个(?:名字|人)|此人|夫妇|一家|名下|先后|本人|住在|去世|生前"
)
"""What is said of people, and of hardly anything else."""
_BEGINNING: Final = re.compile(r"(?:^|[^\u3400-\u9fffA-Za-z0-9])(?=[\u3400-\u9fff]{2})", re.MULTILINE)
_SIGNED: Final = re.compile(
    r"(?:(?<=[。！!？?\n ~])|(?<=[\ue001-\ue005][，, ]))([\u3400-\u9fff]{2,4})"
    r"(?=[ \t]*(?:[0-9年月日./\- ]{4,20})?[ \t\n。]*\Z)"
)
_CALL: Final = f"(?:[老小阿][{FREQUENT_SURNAMES}]|[{FREQUENT_SURNAMES}][姐哥嫂叔姨婶])"
_CALLED: Final = re.compile(f"(?<![大最还]){_CALL}(?=[^\u3400-\u9fff]|$|[说的把是跟和也在从让叫]|{_CALL})")


class _Words:
    """Where the dictionary's words in a text begin and end, and of what sort they are."""

    def __init__(self, text: str) -> None:
        import rjieba  # noqa: PLC0415  its dictionary is for those who redact

        self.starts: dict[int, tuple[int, str]] = {}
        self.ends: set[int] = set()
        place = 0
        for word, tag in rjieba.tag(text, False):
            self.starts[place] = (place + len(word), tag)
            place += len(word)
            self.ends.add(place)

    def cuts(self, start: int, end: int) -> bool:
        """Tell whether a name at this place would begin or end within a word."""
        return start not in self.starts or end not in self.ends

    def is_ordinary(self, start: int) -> bool:
        """Tell whether a word of some length that is no name begins here."""
        end, tag = self.starts[start]
        return end - start > 1 and not tag.startswith("nr")

    def is_long(self, start: int) -> bool:
        """Tell whether a word of two characters or more begins here."""
        return start in self.starts and self.starts[start][0] - start > 1

    def is_name(self, start: int, first: int, end: int) -> bool:
        """Tell whether the dictionary has this as a name, or as a surname and characters by themselves."""
        word, tag = self.starts[start]
        if word == end:
            return tag.startswith("nr")
        given, tag = self.starts.get(first, (0, ""))
        if given == end:
            return word == first and (end - first == 1 or tag.startswith("nr"))
        return word == first and given == first + 1 and self.starts.get(given, (0, ""))[0] == end

    def is_doing(self, start: int) -> bool:
        """Tell whether what begins here goes on after a subject: a verb, an adverb, a mark."""
        return start not in self.starts or self.starts[start][1][0] in "vpdtmrcux"

    def is_noun(self, start: int, end: int) -> bool:
        """Tell whether just this is a noun, which may be a name as well: 田野, 高山."""
        return self.starts[start][0] == end and self.starts[start][1].startswith("n")


class _Reader:
    """Finds names in one text."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.words = _Words(text)

    def name_end(self, start: int, trust: _Trust) -> int | None:
        """Find the end of a name that begins here, or None."""
        text = self.text
        if trust is _Trust.LABEL and (latin := _LATIN.match(text, start)):
            return latin.end()
        if trust >= _Trust.ROLE and (dotted := _DOTTED.match(text, start)):
            return dotted.end()
        first = self._surname_end(start, is_rare=trust >= _Trust.ROLE)
        if (first is None or trust is _Trust.LABEL) and trust >= _Trust.ROLE:
            foreign = _FOREIGN.match(text, start)
            if foreign and self._is_followed(foreign.end()):
                return foreign.end()
        if first is None or self._is_stopped(start):
            return None
        for length in (2, 1):
            end = first + length
            given = text[first:end]
            if len(given) < length or not all(map(_HAN.match, given)) or not NEVER_GIVEN.isdisjoint(given):
                continue
            if self._stands(start, first, end, trust):
                return end
        return self._label_end(first) if trust is _Trust.LABEL else None

    def _stands(self, start: int, first: int, end: int, trust: _Trust) -> bool:
        """Tell whether what follows, and what the name is made of, are enough for such a trust."""
        is_over, is_followed = self._is_over(end), self._is_followed(end)
        if trust is _Trust.LABEL:
            return is_followed
        if self.words.cuts(start, end):
            return False
        is_made_of_given = GIVEN.issuperset(self.text[first:end])
        is_ordinary = self.words.is_ordinary(start)
        if trust is _Trust.ROLE and is_over and not is_ordinary:
            return True
        is_full = end - start >= 3
        if not is_made_of_given:
            is_sure = self.text[start] not in WORDS_TOO and self.text[start] not in RARE_SURNAMES
            return trust is _Trust.ROLE and is_full and is_followed and is_sure and not is_ordinary
        is_followed = is_followed or self.words.is_long(end) or self.text[end] not in GIVEN
        if trust is _Trust.ROLE and is_ordinary:
            return is_followed and (is_full or self.words.is_noun(start, end))
        return not is_ordinary and (is_over or (trust is not _Trust.SELF and (is_followed or is_full)))

    def _is_over(self, end: int) -> bool:
        """Tell whether no character follows that could belong to a name."""
        return end == len(self.text) or not _HAN.match(self.text, end)

    def _is_followed(self, end: int) -> bool:
        """Tell whether what is here may follow a name."""
        return self._is_over(end) or _FOLLOWS.match(self.text, end) is not None

    def _label_end(self, first: int) -> int | None:
        """After a label a name is there even when what follows tells nothing."""
        given = self.text[first : first + 2]
        if len(given) == 2 and GIVEN.issuperset(given):
            return first + 2
        return first + 1 if given and given[0] in GIVEN else None

    def _surname_end(self, start: int, *, is_rare: bool = False) -> int | None:
        """Find the end of a surname; `is_rare`: those that are other words nearly always count, too."""
        if self.text[start : start + 2] in COMPOUND_SURNAMES:
            return start + 2
        surname = self.text[start : start + 1]
        return start + 1 if surname in SURNAMES or (is_rare and surname in RARE_SURNAMES) else None

    def _is_stopped(self, start: int) -> bool:
        return any(self.text[start : start + length] in STOP for length in (2, 3, 4))

    def after_cues(self, trust: _Trust, cue: re.Pattern[str]) -> list[Span]:
        """Find names behind a cue, and those that are put in a row with them."""
        spans: list[Span] = []
        for match in cue.finditer(self.text):
            start = match.end()
            while (end := self.name_end(start, trust)) is not None:
                spans.append((start, end))
                if not _AND.match(self.text, end):
                    break
                start = end + 1
        return spans

    def before_titles(self) -> list[Span]:
        """Find names in front of a title; a surname alone is one, too."""
        spans: list[Span] = []
        for title in _TITLE.finditer(self.text):
            end = title.start()
            for start in (end - 4, end - 3, end - 2, end - 1):
                if start >= 0 and self._is_titled(start, end):
                    spans.append((start, end))
                    break
        return spans

    def _is_titled(self, start: int, end: int) -> bool:
        first = self._surname_end(start)
        if first is None or first > end or end - first > 2 or self._is_stopped(start):
            return False
        if start not in self.words.starts:
            return False
        is_beginning = start == 0 or not _HAN.match(self.text, start - 1)
        surname = self.text[start:first]
        if surname in PARTICLES and not is_beginning:
            return False
        if first == end:
            return surname not in NEVER_ALONE
        is_word = first - start == 1 and self.words.is_ordinary(start)
        return not is_word and GIVEN.issuperset(self.text[first:end])

    def before_facts(self) -> list[Span]:
        """Find names with a number, a sex or an age behind them, and the name under a letter."""
        spans: list[Span] = []
        for beginning in _BEGINNING.finditer(self.text):
            start = beginning.end()
            first = self._surname_end(start)
            for length in (2, 1):
                end = (first or 0) + length
                follows = _NUMBERS_FOLLOW.match(self.text, end) or _SEX_FOLLOWS.match(self.text, end)
                acts = length == 2 and _ACTS.match(self.text, end) and self._may_be_given(end - 2, end)
                if first and (follows or acts) and self._is_plain_name(start, first, end):
                    spans.append((start, end))
                    break
        for signed in _SIGNED.finditer(self.text):
            start, end = signed.span(1)
            first = self._surname_end(start)
            if (
                first
                and 1 <= end - first <= 2
                and GIVEN.issuperset(self.text[first:end])
                and not self._is_stopped(start)
            ):
                spans.append((start, end))
        spans += [
            surname.span(surname.lastindex or 1)
            for surname in _SURNAMED.finditer(self.text)
            if self._surname_end(surname.end() - 1, is_rare=True)
        ]
        return spans

    def _may_be_given(self, first: int, end: int) -> bool:
        """Tell whether given names are made of this, and places do not end so, but for hills: 青山."""
        return GIVEN.issuperset(self.text[first:end]) and self.text[end - 1] not in _PLACES - {"山"}

    def _is_plain_name(self, start: int, first: int, end: int) -> bool:
        given = self.text[first:end]
        if not all(map(_HAN.match, given)) or not NEVER_GIVEN.isdisjoint(given) or self._is_stopped(start):
            return False
        word = self.words.starts.get(start)
        return word is not None and (word[0] - start == 1 or word[1].startswith("nr"))

    def called(self) -> list[Span]:
        """Find how people are called who know each other: 老陈, 小郑, 林姐, 陈哥."""
        return [
            called.span()
            for called in _CALLED.finditer(self.text)
            if called.start() in self.words.starts and called.end() in self.words.ends
        ]

    def by_themselves(self) -> list[Span]:
        """Find full names that nothing announces: what the dictionary knows as one, or cannot read."""
        spans: list[Span] = []
        for start in sorted(self.words.starts):
            first = self._surname_end(start)
            if first is None or self.text[start:first] in WORDS_TOO or self._is_stopped(start):
                continue
            for end in (first + 2, first + 1):
                if self._is_bare(start, first, end):
                    spans.append((start, end))
                    break
        return spans

    def _is_bare(self, start: int, first: int, end: int) -> bool:
        if not GIVEN.issuperset(self.text[first:end]) or not self.words.is_name(start, first, end):
            return False
        if {self.text[end - 1], self.text[end : end + 1]} & _PLACES:
            return False
        if end - first == 2:
            return True
        is_beginning = start == 0 or self.text[start - 1] == "的" or not _HAN.match(self.text, start - 1)
        return is_beginning and self.words.is_doing(end)


def find_names(view: str) -> list[Span]:
    """Find names of people: behind words that announce one, before titles and facts, under a letter."""
    if not _HAN.search(view):
        return []
    reader = _Reader(view)
    return union(
        *(reader.after_cues(trust, cue) for trust, cue in _CUES),
        reader.before_titles(),
        reader.before_facts(),
        reader.by_themselves(),
        [dotted.span() for dotted in _FOREIGN_DOTTED.finditer(view)],
        reader.called(),
    )
