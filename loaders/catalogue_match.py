"""What a typed text means: which names it matches and how well. Knows names, not items."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from enum import IntEnum
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray
from rapidfuzz.distance import OSA

from domain.catalogue import Division, Level
from domain.text import compact, fold, latin_spelling, terms
from loaders.catalogue_files import SynonymRecord
from loaders.catalogue_suffixes import Ints, SuffixIndex

NO_MATCH = np.uint8(255)
_MOST_VARIANTS = 6
_MOST_WORDS = 8
_LONGEST_SLIP = 24
_LONGEST_WORD = 8


class Tier(IntEnum):
    """How well a name matches, best first."""

    EXACT = 0
    EXACT_KEYWORD = 1
    PREFIX = 2
    INSIDE = 3
    KEYWORD = 4
    WORDS = 5
    PINYIN_EXACT = 6
    PINYIN_PREFIX = 7
    PINYIN_INSIDE = 8
    SLIP = 9
    SOME_WORDS = 10


class Match(NamedTuple):
    """The outcome of a match.

    `tiers` has a tier for every name, None when the text asks for no name (empty, or a division only).
    `needles` are folded texts to highlight; `spelling` what was typed in Latin. `division` is what the text
    named, `departments` the department names (numbers) of which one is a must.
    """

    tiers: NDArray[np.uint8] | None
    needles: tuple[str, ...] = ()
    spelling: str = ""
    division: int | None = None
    departments: Ints | None = None
    slip: bool = False


class _Names(NamedTuple):
    """Names found, from the worst tier to the best."""

    found: list[tuple[Tier, Ints]]
    needles: tuple[str, ...]

    def any(self) -> bool:
        return any(len(owners) for _, owners in self.found)


class DivisionNames:
    """Finds the division a text begins or ends with."""

    def __init__(self, divisions: Sequence[Division], parents: Sequence[int]) -> None:
        self._divisions = divisions
        self._parents = parents
        self._by_name: dict[str, list[int]] = {}
        self._by_spelling: dict[str, list[int]] = {}
        for index, division in enumerate(divisions):
            for name in {compact(fold(division.name)), compact(fold(division.short_name))}:
                if len(name) > 1:
                    self._by_name.setdefault(name, []).append(index)
            spelling = division.pinyin.replace(" ", "").lower()
            if len(spelling) > 3 and division.level not in (Level.TOWNSHIP, Level.VILLAGE):
                self._by_spelling.setdefault(spelling, []).append(index)
        self._longest = max((len(name) for name in (*self._by_name, *self._by_spelling)), default=0)

    def splits(self, text: str, near: int | None, *, spelled: bool = False) -> Iterator[tuple[int, str]]:
        """Give ways to read a text as division and rest, the longest name first."""
        names = self._by_spelling if spelled else self._by_name
        for size in range(min(self._longest, len(text)), 1, -1):
            for name, rest in ((text[:size], text[size:]), (text[-size:], text[:-size])):
                candidates = names.get(name)
                if candidates is None:
                    continue
                chosen = self._choose(candidates, near)
                # A township's bare name ("新店", "大田") is too often an ordinary word.
                bare = name != fold(self._divisions[chosen].name)
                if not (bare and self._divisions[chosen].level is Level.TOWNSHIP and len(rest) != 0):
                    yield chosen, rest

    def exact(self, term: str, near: int | None, *, spelled: bool = False) -> int | None:
        """Find the division that a whole term names."""
        candidates = (self._by_spelling if spelled else self._by_name).get(term)
        return self._choose(candidates, near) if candidates else None

    def _choose(self, candidates: list[int], near: int | None) -> int:
        """Prefer the highest level, then what shares the most ancestors with the citizen's division."""
        if len(candidates) == 1:
            return candidates[0]
        around = set(self._line(near)) if near is not None else set()
        return min(
            candidates,
            key=lambda index: (
                -len(around.intersection(self._line(index))),
                len(list(self._line(index))),
                index,
            ),
        )

    def _line(self, index: int) -> Iterator[int]:
        while index >= 0:
            yield index
            index = self._parents[index]


class NameMatcher:
    """Matches texts against the names of one snapshot; has no state but the memory-mapped indexes."""

    def __init__(self, directory: Path, names: int, divisions: DivisionNames) -> None:
        self._size = names
        self._divisions = divisions
        self._names = SuffixIndex(directory, "names")
        self._keywords = SuffixIndex(directory, "keywords")
        self._pinyin = SuffixIndex(directory, "pinyin", width=1)
        self._initials = SuffixIndex(directory, "initials", width=1)
        self._departments = SuffixIndex(directory, "department_names")
        words = msgspec.msgpack.decode((directory / "words.bin").read_bytes(), type=list[tuple[str, str]])
        synonyms = msgspec.msgpack.decode((directory / "synonyms.bin").read_bytes(), type=list[SynonymRecord])
        self._forms = {record.term: record.forms for record in synonyms if record.forms}
        self._ignored = {record.term for record in synonyms if not record.forms}
        self._words = {word for word, _ in words} | self._forms.keys() | self._ignored
        self._spelled_words = {spelling for _, spelling in words}
        self._spelled_terms: dict[str, list[str]] = {}
        for record in synonyms:
            if record.forms:
                self._spelled_words.add(record.pinyin)
                for spelling in {record.pinyin, record.initials}:
                    self._spelled_terms.setdefault(spelling, []).append(record.term)
        self._longest_term = max((len(term) for term in self._words), default=0)
        self._terms_by_length: dict[int, list[str]] = {}
        for term in self._forms:
            self._terms_by_length.setdefault(len(term), []).append(term)

    def match(self, text: str, near: int | None = None, *, slips: bool = True) -> Match:
        """Match a text as typed; `near` is the citizen's division, which settles doubtful names."""
        folded = " ".join(fold(text).split())
        if not folded:
            return Match(None)
        spelling = latin_spelling(folded)
        if spelling is not None:
            return self._match_latin(folded, spelling, near, slips)
        return self._match_chinese(folded, near, slips)

    def _match_chinese(self, folded: str, near: int | None, slips: bool) -> Match:
        whole = compact(folded)
        found = self._literal(whole)
        if found.any():
            return self._with_words(folded, found, None)
        readings: list[tuple[int | None, str]] = [*self._division_readings(folded, near), (None, folded)]
        for division, rest in readings:
            if not compact(rest):
                return Match(None, division=division)
            # Without 怎么办理 and the like the text may be a name.
            core = "".join(self._words_of(rest))
            match = self._with_words(rest, found if core == whole else self._literal(core), division)
            if match.tiers is not None:
                return match
        if slips:
            for division, rest in readings:
                match = self._slip(compact(rest), division)
                if match.tiers is not None:
                    return match
            for division, rest in readings:
                match = self._some_words(rest, division)
                if match.tiers is not None:
                    return match
        return self._nothing()

    def _nothing(self) -> Match:
        return Match(np.full(self._size, NO_MATCH, np.uint8))

    def _division_readings(self, folded: str, near: int | None) -> Iterator[tuple[int, str]]:
        parts = terms(folded)
        if len(parts) > 1:
            for index, part in enumerate(parts):
                division = self._divisions.exact(part, near)
                if division is not None:
                    yield division, " ".join(parts[:index] + parts[index + 1 :])
        yield from self._divisions.splits(compact(folded), near)

    def _variants(self, text: str) -> list[str]:
        """Write a text with official names for what people say, the text itself left out."""
        forms = self._forms
        if text in forms:
            return list(forms[text])
        variants: list[str] = []
        at, size = 0, len(text)
        while at < size:
            for length in range(min(self._longest_term, size - at), 1, -1):
                official = forms.get(text[at : at + length])
                if official is not None:
                    head, tail = text[:at], text[at + length :]
                    variants.extend(
                        head + form + tail
                        for form in official
                        # 居民身份证 holds 身份证, whose official form it already is.
                        if not (form.endswith(text[at : at + length]) and (head + form).endswith(form) and
                                head.endswith(form[: -length] or "\0"))
                    )  # fmt: skip
                    at += length - 1
                    break
            at += 1
        return variants[:_MOST_VARIANTS]

    def _literal(self, text: str) -> _Names:
        """Find names with the text or an official variant of it at the start, inside or as a keyword."""
        variants = self._variants(text)
        found: list[tuple[Tier, Ints]] = []
        exact_keyword: list[Ints] = []
        starting: list[Ints] = []
        exact: Ints | None = None
        for index, needle in enumerate((text, *variants)):
            hits = self._names.find(needle)
            keywords = self._keywords.find(needle)
            if len(keywords):
                found.append((Tier.KEYWORD, keywords.owners))
                exact_keyword.append(keywords.exact())
            if len(hits):
                found.append((Tier.INSIDE, hits.owners))
                starting.append(hits.starting())
                if index:
                    exact_keyword.append(hits.exact())
                else:
                    exact = hits.exact()
        found.sort(key=lambda pair: -pair[0])
        found.extend((Tier.PREFIX, owners) for owners in starting)
        found.extend((Tier.EXACT_KEYWORD, owners) for owners in exact_keyword)
        if exact is not None:
            found.append((Tier.EXACT, exact))
        return _Names(found, (text, *variants))

    def _tiers(self, found: Iterable[tuple[Tier, Ints]]) -> NDArray[np.uint8]:
        tiers = np.full(self._size, NO_MATCH, np.uint8)
        for tier, owners in found:
            tiers[owners] = tier
        return tiers

    def _with_words(self, folded: str, found: _Names, division: int | None) -> Match:
        """Add to literal hits the names that have all the words of the text, in any order."""
        words = self._words_of(folded)
        needles = found.needles
        departments: Ints | None = None
        pairs = found.found
        if len(words) > 1 or (words and words[0] != compact(folded)):
            sets = [self._word_hits(word, self._variants(word)) for word in words]
            common = self._intersect(sets)
            if not len(common) and not found.any():
                common, departments = self._with_department(words, sets)
            if len(common):
                needles = (*needles, *words, *(form for word in words for form in self._variants(word)))
                pairs = [(Tier.WORDS, common), *pairs]
            elif departments is not None:
                return Match(None, (), "", division, departments)
        if not any(len(owners) for _, owners in pairs):
            return Match(None)
        return Match(self._tiers(pairs), needles, "", division, departments)

    def _words_of(self, folded: str) -> list[str]:
        """Cut a text into the fewest known words; a phrase such as 怎么办理 is passed over."""
        cut: list[str] = []
        for part in terms(folded):
            cut.extend(_segment(part, self._words, self._longest_term))
        kept = list(dict.fromkeys(word for word in cut if word not in self._ignored))
        return (kept or cut)[:_MOST_WORDS]

    def _word_hits(self, word: str, variants: Sequence[str]) -> Ints:
        found = [
            hits.owners
            for needle in (word, *variants)
            for hits in (self._names.find(needle), self._keywords.find(needle))
            if len(hits)
        ]
        return np.concatenate(found) if found else np.zeros(0, np.int32)

    def _intersect(self, sets: Sequence[Ints]) -> Ints:
        if not sets or not all(map(len, sets)):
            return np.zeros(0, np.int32)
        ordered = sorted(sets, key=len)
        common = np.unique(ordered[0])
        for other in ordered[1:]:
            marks = np.zeros(self._size, np.bool_)
            marks[other] = True
            common = common[marks[common]]
            if not len(common):
                break
        return common

    def _with_department(self, words: list[str], sets: list[Ints]) -> tuple[Ints, Ints | None]:
        """Read one of the words as a part of the department's name ("公安局 身份证")."""
        for index, word in enumerate(words):
            hits = self._departments.find(word)
            if len(word) > 1 and len(hits):
                common = self._intersect(sets[:index] + sets[index + 1 :])
                if len(common) or len(words) == 1:
                    return common, np.unique(hits.owners)
        return np.zeros(0, np.int32), None

    def _slip(self, text: str, division: int | None) -> Match:
        if not 3 <= len(text) <= _LONGEST_SLIP:
            return Match(None)
        owners = [self._names.find_one_slip(text), self._keywords.find_one_slip(text)]
        if any(map(len, owners)):
            return Match(self._tiers((Tier.SLIP, part) for part in owners), (text,), "", division, slip=True)
        for corrected in self._corrections(text):
            match = self._with_words(corrected, self._literal(corrected), division)
            if match.tiers is not None:
                return _as_slip(match)
        return Match(None)

    def _corrections(self, text: str) -> Iterator[str]:
        """Put known synonyms in the place of parts one slip away from them, the longest part first."""
        for size in range(len(text), 2, -1):
            for at in range(len(text) - size + 1):
                part = text[at : at + size]
                for length in (size, size + 1, size - 1):
                    for term in self._terms_by_length.get(length, ()):
                        if length > 2 and OSA.distance(part, term, score_cutoff=1) == 1:
                            yield text[:at] + term + text[at + size :]

    def _some_words(self, folded: str, division: int | None) -> Match:
        """Find the names that have as many of the words as any name has."""
        words = [word for word in self._words_of(folded) if len(word) > 1]
        counts = np.zeros(self._size, np.uint8)
        for word in words:
            marks = np.zeros(self._size, np.bool_)
            marks[self._word_hits(word, self._variants(word))] = True
            counts += marks
        best = int(counts.max(initial=0))
        if not best or best * 2 < len(words):
            return Match(None)
        tiers = np.where(counts == best, np.uint8(Tier.SOME_WORDS), NO_MATCH)
        needles = (*words, *(form for word in words for form in self._variants(word)))
        return Match(tiers, needles, "", division)

    def _match_latin(self, folded: str, spelling: str, near: int | None, slips: bool) -> Match:
        match = self._latin(folded, spelling, None)
        if match.tiers is not None:
            return match
        parts = folded.split()
        readings = [
            (division, " ".join(parts[:index] + parts[index + 1 :]))
            for index, part in enumerate(parts)
            if (division := self._divisions.exact(part, near, spelled=True)) is not None
        ]
        readings.extend(self._divisions.splits(spelling, near, spelled=True))
        for division, rest in readings:
            if not rest:
                return Match(None, division=division)
            match = self._latin(rest, rest.replace(" ", ""), division)
            if match.tiers is not None:
                return match
        if slips and 4 <= len(spelling) <= 2 * _LONGEST_SLIP:
            owners = self._pinyin.find_one_slip(spelling, on_boundary=True)
            if len(owners):
                return Match(self._tiers([(Tier.SLIP, owners)]), (), spelling, slip=True)
            for term in self._spelled_slips(spelling):
                match = self._with_words(term, self._literal(term), None)
                if match.tiers is not None:
                    return _as_slip(match)
        return self._nothing()

    def _spelled_slips(self, spelling: str) -> Iterator[str]:
        for known, typed in self._spelled_terms.items():
            if abs(len(known) - len(spelling)) <= 1 and OSA.distance(known, spelling, score_cutoff=1) == 1:
                yield from typed

    def _latin(self, folded: str, spelling: str, division: int | None) -> Match:
        """Match Latin as itself (ETC, A1), as full pinyin, as initials, and as the pinyin of a synonym."""
        found: list[tuple[Tier, Ints]] = []
        for index in (self._initials, self._pinyin):
            hits = index.find(spelling)
            if len(hits):
                found.append((Tier.PINYIN_INSIDE, hits.on_boundaries()))
                found.append((Tier.PINYIN_PREFIX, hits.starting()))
                found.append((Tier.PINYIN_EXACT, hits.exact()))
        needles: list[str] = []
        for term in self._spelled_terms.get(spelling, ()):
            for needle in (term, *self._forms[term]):
                needles.append(needle)
                hits, keywords = self._names.find(needle), self._keywords.find(needle)
                found.append((Tier.PINYIN_INSIDE, hits.owners))
                found.append((Tier.PINYIN_PREFIX, hits.starting()))
                found.append((Tier.PINYIN_INSIDE, keywords.owners))
                found.append((Tier.PINYIN_EXACT, keywords.exact()))
        literal = self._literal(compact(folded))
        found.sort(key=lambda pair: -pair[0])
        found.extend(literal.found)
        if not any(len(owners) for _, owners in found):
            words = self._spelled_parts(folded)
            common = self._intersect([self._spelled_hits(word) for word in words]) if len(words) > 1 else ()
            if not len(common):
                return Match(None)
            found = [(Tier.PINYIN_INSIDE, np.asarray(common, np.int32))]
        return Match(self._tiers(found), (*literal.needles, *needles), spelling, division)

    def _spelled_parts(self, folded: str) -> list[str]:
        longest = max(map(len, self._spelled_words), default=0)
        parts: list[str] = []
        for part in folded.split():
            parts.extend(_segment(part, self._spelled_words, longest))
        return parts[:_MOST_WORDS]

    def _spelled_hits(self, spelling: str) -> Ints:
        found = [self._pinyin.find(spelling).on_boundaries(), self._initials.find(spelling).on_boundaries()]
        if self._names.has(spelling):
            found.append(self._names.find(spelling).owners)
        for term in self._spelled_terms.get(spelling, ()):
            found.append(self._word_hits(term, self._forms[term]))
        return np.concatenate(found)


def _as_slip(match: Match) -> Match:
    if match.tiers is None:
        return match
    return match._replace(tiers=np.where(match.tiers == NO_MATCH, NO_MATCH, np.uint8(Tier.SLIP)))


def _segment(text: str, words: set[str], longest: int) -> list[str]:
    """Cut a text into the fewest pieces, unknown characters counting double."""
    size = len(text)
    if text in words:
        return [text]
    costs = [0] * (size + 1)
    ends = [0] * (size + 1)
    for start in range(size - 1, -1, -1):
        best, choice = costs[start + 1] + 2, start + 1
        for end in range(start + 2, min(size, start + longest) + 1):
            if costs[end] + 1 < best and text[start:end] in words:
                best, choice = costs[end] + 1, end
        costs[start], ends[start] = best, choice
    pieces: list[str] = []
    at = unknown_from = 0
    while at < size:
        if ends[at] - at > 1:
            # Unknown characters side by side (a number, a foreign word) stay together.
            if unknown_from < at:
                pieces.append(text[unknown_from:at])
            pieces.append(text[at : ends[at]])
            unknown_from = ends[at]
        at = ends[at]
    if unknown_from < size:
        pieces.append(text[unknown_from:])
    return pieces
