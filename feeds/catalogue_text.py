"""Cleaning of upstream text: entities, tags, control characters, white space, lengths."""

from __future__ import annotations

import html
import re

_SUSPECT = re.compile(r"[&<\x00-\x1f\x7f-\xa0\u00ad\u2028\u2029\u200b-\u200f\u3000\ufeff]|  |^\s|\s$")
_HIDDEN = re.compile(r"<(script|style)\b.*?(?:</\1\s*>|$)|<!--.*?(?:-->|$)", re.DOTALL | re.IGNORECASE)
_BREAK = re.compile(r"<\s*(?:br|/?p|/?div|/?li|/?tr|/?h[1-6])\b[^<>]*>", re.IGNORECASE)
# Known names only: "<18周岁" and "<3年" are text.
_TAG = re.compile(
    r"</?(?:a|b|i|u|s|em|strong|span|font|ul|ol|table|tbody|thead|td|th|img|body|html|head|center|pre|o:p|st1:\w+|"
    r"sub|sup|section|label|input|dl|dt|dd|blockquote|hr|colgroup|col|col-group|w:\w+|meta|link|title)\b[^<>]*>",
    re.IGNORECASE,
)
_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f\u00ad\u200b-\u200f\ufeff]")
_LINES = re.compile(r"\s*[\n\r\x0b\x0c\x85\u2028\u2029]\s*")
_BLANKS = re.compile(r"[^\S\n]+")
_UNESCAPE_ROUNDS = 4  # &amp;amp;lt; was seen; more is an attack


def clean_text(text: str) -> str:
    """Turn upstream text into plain text of one or several lines.

    Entities are decoded however often they were encoded, `<br>`, `<p>` and their like become line breaks,
    other tags, C0, C1 and invisible characters go, white space is folded, empty lines go.
    """
    if _SUSPECT.search(text) is None:
        return text
    for _ in range(_UNESCAPE_ROUNDS):
        if "&" not in text or (decoded := html.unescape(text)) == text:
            break
        text = decoded
    if "<" in text:
        text = _TAG.sub("", _BREAK.sub("\n", _HIDDEN.sub("", text)))
    text = _CONTROL.sub("", text)
    return _LINES.sub("\n", _BLANKS.sub(" ", text)).strip()


def clean_line(text: str) -> str:
    """Clean a text that is one line by its nature, such as a name."""
    text = clean_text(text)
    return text.replace("\n", " ") if "\n" in text else text


def shorten(text: str, limit: int) -> str:
    """Bound a text to `limit` characters, marking the cut."""
    return text if len(text) <= limit else text[: limit - 1] + "…"
