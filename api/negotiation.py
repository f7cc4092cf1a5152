"""What a client wants: media type, language and encoding, from the Accept headers (RFC 9110, section 12)."""

from __future__ import annotations

from functools import lru_cache
from typing import Final, Literal

from resolvers.context import Language

GRAPHQL_RESPONSE: Final = "application/graphql-response+json"
JSON: Final = "application/json"
MediaType = Literal["application/graphql-response+json", "application/json"]
Encoding = Literal["br", "gzip", ""]

_MAX_HEADER = 1_000


def _ranges(header: str) -> list[tuple[str, dict[str, str], float]]:
    """Split a header into (value, parameters, quality) as given; a malformed quality counts as 0."""
    found = []
    for part in header[:_MAX_HEADER].split(","):
        value, *raw = (piece.strip() for piece in part.split(";"))
        if not value:
            continue
        parameters = {}
        quality = 1.0
        for piece in raw:
            name, _, text = piece.partition("=")
            name, text = name.strip().lower(), text.strip().strip('"')
            if name == "q":
                try:
                    quality = float(text)
                except ValueError:
                    quality = 0.0
                quality = quality if 0 <= quality <= 1 else 0.0
            else:
                parameters[name] = text.lower()
        found.append((value.lower(), parameters, quality))
    return found


def _quality(media_type: str, ranges: list[tuple[str, dict[str, str], float]]) -> tuple[float, int]:
    """Give the quality of a media type by its most specific range, and minus the place of that range."""
    best: tuple[int, float, int] = (0, 0.0, 0)
    group = media_type.partition("/")[0] + "/*"
    for place, (value, parameters, quality) in enumerate(ranges):
        if parameters.get("charset", "utf-8") not in ("utf-8", "utf8"):
            continue
        specificity = 3 if value == media_type else 2 if value == group else 1 if value == "*/*" else 0
        if specificity > best[0]:
            best = (specificity, quality, -place)
    return best[1], best[2]


@lru_cache(maxsize=256)
def media_type(accept: str | None) -> MediaType | None:
    """Choose the response's media type; None when the client takes neither.

    Without preference it is application/json, which clients from before the specification expect; of two
    named with the same quality, the one named first.
    """
    if not accept or not accept.strip():
        return JSON
    ranges = _ranges(accept)
    json_quality, json_place = _quality(JSON, ranges)
    graphql_quality, graphql_place = _quality(GRAPHQL_RESPONSE, ranges)
    if not json_quality and not graphql_quality:
        return None
    if (graphql_quality, graphql_place) > (json_quality, json_place):
        return GRAPHQL_RESPONSE
    return JSON


@lru_cache(maxsize=256)
def accepts_html(accept: str | None) -> bool:
    """Tell whether a browser asks for a page: text/html is named and preferred to JSON."""
    if not accept or "text/html" not in accept.lower():
        return False
    ranges = _ranges(accept)
    html = next((quality for value, _, quality in ranges if value == "text/html"), 0.0)
    named = {value: quality for value, _, quality in ranges}
    return html > 0 and html >= max(named.get(JSON, 0.0), named.get(GRAPHQL_RESPONSE, 0.0))


@lru_cache(maxsize=256)
def language(accept_language: str | None) -> Language:
    """Choose the language of messages: English when preferred to Chinese, else Chinese."""
    if not accept_language:
        return "zh"
    best: dict[str, float] = {}
    for value, _, quality in _ranges(accept_language):
        primary = value.partition("-")[0]
        if primary in ("zh", "en"):
            best[primary] = max(best.get(primary, 0.0), quality)
    return "en" if best.get("en", 0.0) > best.get("zh", 0.0) else "zh"


@lru_cache(maxsize=256)
def encoding(accept_encoding: str | None) -> Encoding:
    """Choose the content coding: brotli before gzip, none when neither is welcome."""
    if not accept_encoding:
        return ""
    qualities = {value: quality for value, _, quality in _ranges(accept_encoding)}
    everything = qualities.get("*", 0.0)
    brotli_quality = qualities.get("br", everything)
    gzip_quality = qualities.get("gzip", qualities.get("x-gzip", everything))
    if brotli_quality > 0 and brotli_quality >= gzip_quality:
        return "br"
    return "gzip" if gzip_quality > 0 else ""


@lru_cache(maxsize=256)
def is_json_body(content_type: str | None) -> bool:
    """Tell whether a body is JSON in UTF-8: the media type is named, the charset absent or utf-8."""
    if not content_type:
        return False
    value, *parameters = (piece.strip().lower() for piece in content_type.split(";"))
    if value != JSON:
        return False
    for parameter in parameters:
        name, _, text = parameter.partition("=")
        if name.strip() == "charset" and text.strip().strip('"') not in ("utf-8", "utf8"):
            return False
    return True
