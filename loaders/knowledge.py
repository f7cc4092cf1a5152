"""The published guides that a process serves, searched in memory by what their words have in common."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from datetime import datetime
from typing import Final

import tantivy
from msgspec import Struct

from domain.knowledge import GuideContent, grams, same_question
from domain.units import lineage
from loaders.reference import Followed
from store.knowledge import GUIDES, KnowledgeStore

MAX_FOUND: Final = 20
_FIELDS: Final = {"question": 3.0, "keywords": 2.0, "answer": 1.0}
_EVERYWHERE: Final = "everywhere"
_NEARER: Final = 0.5  # a level nearer counts as much as a rare pair of characters a tenth
_WEAKEST: Final = 0.25  # of the best score
_MOST_GRAMS: Final = 120
_HEAP_BYTES: Final = 32_000_000


class PublishedGuide(Struct, frozen=True):
    """A guide as readers see it."""

    id: str
    content: GuideContent
    published_at: datetime


class FoundGuide(Struct, frozen=True):
    """A hit; scores compare within one search only."""

    guide: PublishedGuide
    score: float


class GuideIndex:
    """All published guides, immutable."""

    def __init__(self, guides: Iterable[PublishedGuide]) -> None:
        self._guides = sorted(guides, key=lambda each: each.id)
        self._by_id = {each.id: each for each in self._guides}
        builder = tantivy.SchemaBuilder()
        builder.add_unsigned_field("number", stored=True, fast=True)
        builder.add_text_field("division", tokenizer_name="raw", index_option="basic")
        for field in _FIELDS:
            builder.add_text_field(field, tokenizer_name="whitespace", index_option="freq")
        self._schema = builder.build()
        self._index = tantivy.Index(self._schema)
        writer = self._index.writer(_HEAP_BYTES, 1)
        for number, guide in enumerate(self._guides):
            writer.add_document(self._document(number, guide.content))
        writer.commit()
        writer.wait_merging_threads()
        self._index.reload()
        self._searcher = self._index.searcher()

    def __len__(self) -> int:
        return len(self._guides)

    @staticmethod
    def _document(number: int, content: GuideContent) -> tantivy.Document:
        document = tantivy.Document()
        document.add_unsigned("number", number)
        document.add_text("division", content.division_code or _EVERYWHERE)
        document.add_text("question", " ".join(grams(content.question)))
        document.add_text("keywords", " ".join(gram for each in content.keywords for gram in grams(each)))
        document.add_text("answer", " ".join(grams(content.answer)))
        return document

    def find(self, guide_id: str) -> PublishedGuide | None:
        """Find a published guide."""
        return self._by_id.get(guide_id)

    def search(self, text: str, division_code: str | None = None, first: int = 5) -> list[FoundGuide]:
        """Rank guides by the rare pairs of characters that they share with a text, the question above all.

        With a division: guides of it, of those above it and those that hold everywhere, nearer ones first
        among equals. The same question is first whatever else there is. `first`: 20 at most.
        """
        words = list(dict.fromkeys(grams(text)))[:_MOST_GRAMS]
        if not words:
            return []
        should = tantivy.Occur.Should
        matches = [
            (should, tantivy.Query.boost_query(self._term(field, word), boost))
            for word in words
            for field, boost in _FIELDS.items()
        ]
        parts = [(tantivy.Occur.Must, tantivy.Query.boolean_query(matches))]
        if division_code is not None:
            parts.append((tantivy.Occur.Must, self._within(division_code)))
        limit = min(first, MAX_FOUND)
        hits = self._searcher.search(tantivy.Query.boolean_query(parts), limit + 5, count=False).hits
        numbers = self._searcher.fast_field_values("number", [address for _, address in hits])
        found = [
            FoundGuide(self._guides[int(number)], round(float(score), 3))
            for (score, _), number in zip(hits, numbers, strict=True)
            if number is not None and score >= hits[0][0] * _WEAKEST
        ]
        found.sort(
            key=lambda hit: (not same_question(text, hit.guide.content.question), -hit.score, hit.guide.id)
        )
        return found[:limit]

    def _term(self, field: str, word: str) -> tantivy.Query:
        return tantivy.Query.term_query(self._schema, field, word, "freq")

    def _within(self, division_code: str) -> tantivy.Query:
        names = [_EVERYWHERE, *reversed(lineage(division_code))]
        return tantivy.Query.boolean_query(
            [
                (
                    tantivy.Occur.Should,
                    tantivy.Query.const_score_query(
                        tantivy.Query.term_query(self._schema, "division", name, "basic"), _NEARER * level
                    ),
                )
                for level, name in enumerate(names)
            ]
        )


class Knowledge:
    """The knowledge base of a process; `followed` is what a `Follower` keeps up to date."""

    def __init__(self, store: KnowledgeStore) -> None:
        self.store = store
        self.followed: Followed[GuideIndex] = Followed(GUIDES, self._load)

    @property
    def index(self) -> GuideIndex:
        """The published guides. Raises: loaders.reference.ReferenceUnavailableError before the first load."""
        return self.followed.current

    def search(self, text: str, division_code: str | None = None, first: int = 5) -> list[FoundGuide]:
        """Rank published guides for a text, see `GuideIndex.search`.

        Raises: loaders.reference.ReferenceUnavailableError.
        """
        return self.index.search(text, division_code, first)

    async def _load(self) -> GuideIndex:
        guides = [PublishedGuide(*each) async for each in self.store.published()]
        return await asyncio.to_thread(GuideIndex, guides)
