"""Legal bases: citations in running text taken apart, so that the same article is stored once."""

from __future__ import annotations

import re
from hashlib import blake2b

from domain.catalogue import LegalBasis
from feeds.catalogue_text import shorten

MAX_ARTICLE_TEXT = 8_000
MAX_CITATIONS = 100
_NUMBER = "[零〇一二三四五六七八九十百千两0-9０-９]+"
_ARTICLE = f"第{_NUMBER}条(?:之{_NUMBER})?(?:第{_NUMBER}款)?(?:第?[（(]?{_NUMBER}[）)]?项)?"
# A citation begins a line or a sentence, or follows another citation; laws named inside an article's own text
# stay text.
_CITATION = re.compile(
    r"(?:^|(?<=[\n；;。])|(?<=[条款项》])[、，,和及])\s*"
    r"(?:\d{1,2}[.、．]|[（(]\d{1,2}[)）]|【[^】\n]{1,40}】|依据[:：]?)*\s*"
    r"《(?P<law>[^《》\n]{2,100}(?:〈[^〉]*〉[^《》\n]*)?)》"
    r"(?:[（(](?P<number>[^（）()\n]{2,80})[）)])?\s*"
    f"(?P<article>{_ARTICLE}(?:(?:、|，|和|及|至){_ARTICLE}){{0,9}})?"
)


def legal_basis_id(law: str, article: str, text: str) -> str:
    """Give the id of a cited article: 24 hex digits.

    The text is part of it: the same article with a conflicting text is another record.
    """
    return blake2b(f"{law}\0{article}\0{text}".encode(), digest_size=12).hexdigest()


def make_basis(law: str, article: str = "", text: str = "") -> LegalBasis:
    """Make a legal basis with bounded texts: law 300, article 120, text 8,000 characters."""
    law, article, text = shorten(law, 300), shorten(article, 120), shorten(text, MAX_ARTICLE_TEXT)
    return LegalBasis(legal_basis_id(law, article, text), law, article, text)


def parse_citations(text: str) -> list[LegalBasis]:
    """Take running text (already clean) apart into cited articles, each once, in order.

    Text without any 《…》 becomes one basis: a short one names the law, a long one is the text.
    """
    matches = list(_CITATION.finditer(text))
    if not matches:
        if not text:
            return []
        return [make_basis(text) if len(text) <= 100 else make_basis("", "", text)]
    found: dict[str, LegalBasis] = {}
    ends = [match.start() for match in matches[1:]] + [len(text)]
    for match, end in zip(matches[:MAX_CITATIONS], ends, strict=False):
        law = match["law"] + (f"（{match['number']}）" if match["number"] else "")
        basis = make_basis(law, match["article"] or "", text[match.end() : end].strip(" :：\n；;，,。、"))
        found.setdefault(basis.id, basis)
    return list(found.values())
