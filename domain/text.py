"""Rules for comparing text as people type it: folding, terms, Latin spelling. Pure functions."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from functools import lru_cache

# Traditional forms that people from Taiwan, Hong Kong and overseas type for words of the service hall.
_TRADITIONAL = (
    "證证護护駕驾駛驶執执營营業业稅税務务醫医療疗險险個个體体戶户籍籍離离結结婚婚領领補补換换"
    "變变更更註注冊册銷销動动產产權权登登記记貸贷積积養养護护衛卫環环學学師师資资職职稱称書书"
    "機机車车輛辆號号碼码檢检驗验車车廣广場场餐餐飲饮許许藥药進进貿贸關关係系臺台灣湾灣湾"
    "僑侨鄉乡縣县區区鎮镇街街門门廈厦龍龙連连長长樂乐陽阳東东雲云電电氣气燃燃網网線线絡络"
    "費费繳缴額额賬账單单據据發发票票審审備备復复議议裁裁訴诉訟讼調调解解公公仲仲傷伤殘残"
    "兒儿歲岁齡龄幼幼園园轉转遷迁開开辦办預预約约查查詢询報报銷销異异時时間间點点賣卖買买"
    "農农漁渔業业畜畜獸兽種种樹树伐伐採采礦矿運运輸输船船員员導导遊游館馆術术藝艺圖图"
    "設设計计築筑工工程程質质監监測测災灾應应急急災灾撫抚恤恤軍军退退優优撫抚慰慰"
    "準准認认定定獎奖勵励專专利利標标商商創创業业擔担保保貼贴項项課课類类級级經经濟济"
)
_TO_SIMPLIFIED = {
    ord(old): new for old, new in zip(_TRADITIONAL[::2], _TRADITIONAL[1::2], strict=True) if old != new
}
_ASCII_SPELLING = re.compile(r"[a-z0-9' ]*[a-z][a-z0-9' ]*", re.ASCII)
_SEPARATORS = re.compile(r"[^\w]+|_+")


@lru_cache(maxsize=16_384)
def _fold_character(character: str) -> str:
    if character.isascii():
        return character.lower() if character.isprintable() else " "
    if "\u4e00" <= character <= "\u9fff":
        return character.translate(_TO_SIMPLIFIED)
    folded = unicodedata.normalize("NFKC", character).casefold()
    if unicodedata.category(character)[0] == "C":
        return ""
    return "".join(part for part in unicodedata.normalize("NFD", folded) if not unicodedata.combining(part))


def fold(text: str) -> str:
    """Fold width, case, accents, ligatures, Roman numerals and common traditional characters."""
    if text.isascii() and text.isprintable():
        return text.lower()
    return "".join(map(_fold_character, text))


def fold_with_offsets(text: str) -> tuple[str, Sequence[int]]:
    """Fold and tell for every folded character the index of its origin in `text`, plus the end.

    The sequence is one longer than the folded text, so that a folded range maps to a range of `text`.
    """
    pieces = list(map(_fold_character, text))
    folded = "".join(pieces)
    if len(folded) == len(text) and "" not in pieces:
        return folded, range(len(text) + 1)
    offsets = [index for index, piece in enumerate(pieces) for _ in piece]
    offsets.append(len(text))
    return folded, offsets


def terms(folded: str) -> list[str]:
    """Split folded text at blanks and punctuation, order kept, empty pieces dropped."""
    return [term for term in _SEPARATORS.split(folded) if term]


def compact(folded: str) -> str:
    """Drop blanks from folded text; runs of Chinese never need them."""
    return "".join(folded.split())


def latin_spelling(folded: str) -> str | None:
    """Give the letters and digits of a text typed in Latin only (pinyin, initials), else None."""
    if not _ASCII_SPELLING.fullmatch(folded):
        return None
    return folded.replace(" ", "").replace("'", "")


def has_chinese(text: str) -> bool:
    """Tell whether a text has at least one Chinese character."""
    return any("\u3400" <= character <= "\u9fff" for character in text)
