"""Where somebody lives, from the building on: spans in a folded text. Road and community are no secret."""

from __future__ import annotations

import re
from typing import Final

from domain.redaction_rules import Span, scan, union

_NUMBER: Final = "(?:[0-9]{1,4}|[一二三四五六七八九十百零〇]{1,4})"
_TAIL: Final = r"(?![0-9A-Za-z年月日点元块个人名次天度吨台辆份条平㎡%米:：路]|\.[0-9])"
_BUILDING: Final = (
    rf"(?:第?(?:{_NUMBER}|[A-Za-z][0-9]{{0,3}}|[0-9]{{1,3}}[A-Za-z]|[甲乙丙丁东南西北])[ ]?"
    r"(?:号楼|栋楼?|幢楼?|棟|座|#楼?|号院))"
)
_UNIT: Final = rf"(?:(?:{_NUMBER}|[A-Za-z甲乙丙丁东中西])[ ]?(?:单元|梯|门栋))"
_FLOOR: Final = rf"(?:{_NUMBER}[ ]?(?:层|楼))"
_ROOM: Final = (
    r"(?:(?:[0-9]{3,4}[A-Za-z]?|[0-9]{2}[0-9A-Za-z]?)[ ]?(?:号房|室|房间?|单元房|号)"
    rf"|[0-9]{{3,4}}[A-Za-z]?{_TAIL})"
)
_JOIN: Final = r"[ \-,，]?"

_FLAT: Final = re.compile(
    rf"(?<![0-9A-Za-z])(?:[A-Za-z][区期])?(?:{_BUILDING}{_JOIN}(?:{_UNIT}(?:{_JOIN}{_FLOOR})?(?:{_JOIN}{_ROOM})?"
    rf"|{_FLOOR}(?:{_JOIN}{_ROOM})?|{_ROOM})"
    rf"|(?<!第){_UNIT}(?:{_JOIN}{_FLOOR})?(?:{_JOIN}{_ROOM})?)"
)
_DASHED: Final = re.compile(
    r"(?<![0-9A-Za-z.\-])(?:[0-9]{1,3}|[A-Za-z])[\-#][0-9]{1,2}[\-#](?!(?:19|20)[0-9]{2}(?![0-9室房号]))[0-9]{3,4}[室房号]?"
    r"(?![0-9A-Za-z.\-])"
)
_HASHED: Final = re.compile(
    r"(?<![0-9A-Za-z.\-])[0-9]{1,3}(?:#[0-9]{3,4}[室房号]?|-[0-9]{3,4}[室房])(?![0-9A-Za-z])"
)
_ROOM_ALONE: Final = re.compile(
    rf"(?<![0-9A-Za-z.第])(?:{_FLOOR}{_JOIN}{_ROOM}|[0-9]{{3,4}}[A-Za-z]?[ ]?(?:室|号房|房间)(?!间))"
)
_PUBLIC: Final = re.compile(
    "医院|门诊|大厅|中心|政府|法院|学校|小学|中学|大学|教学|教室|大楼|窗口|办事|税务|派出所|机关|会议|车站|机场|图书馆|体育馆|局|委"
)
_HOMES: Final = (
    "小区|花园|公寓|家园|家属院|宿舍|花苑|新村|新苑|佳苑|名苑|嘉园|庄园|华庭|名邸|华府|新城|山庄|别墅|安置房|公租房|廉租房|"
    "人家|苑|府|郡|庭|湾|邸|墅|[一二三四五六1-9]期|[东南西北ABCD]区"
)
_HOUSE_OF_HOMES: Final = re.compile(
    rf"(?:{_HOMES})[ ,，]?(?P<own>{_BUILDING}|[0-9]{{1,3}}-[0-9]{{3,4}}(?![0-9\-]))"
)
_NO_DAY: Final = (
    r"(?!线|楼|公交|店铺|井|杆|桥|机|[早上中下凌]|晚|开始|起|至|到|停|之前|以前|前|后|以后|当天|那天|[0-9])"
)
_VILLAGE: Final = re.compile(
    r"(?:村|屯|寨|庄|厝|胡同|弄堂|[村小]组|[0-9一二三四五六七八九十][组队]|巷|弄|(?<![村家县城乡区店校屋院厂镇这那])里)"
    rf"[ ]?(?P<own>{_NUMBER}(?:-[0-9]{{1,3}}|之[一二三四五六])?号{_NO_DAY}(?:{_JOIN}{_ROOM})?)"
)
_AT_HOME: Final = re.compile(
    r"(?:家住|住在|住址|现住|居住地?|租住|住于|家庭地址|家庭住址|地址是我家|我家在|我家住|户籍地址?|身份证地址|收货地址|我住|老家|^住)"
    r"[^。；;！!？?\n]{0,40}?(?:路|街|道|巷|弄|里|村|段|大道|花园|小区|坊|厝|组)[ ]?"
    rf"(?P<own>{_NUMBER}(?:-[0-9]{{1,3}}|之[一二三四五六])?号{_NO_DAY})"
)
_OWN: Final = re.compile(
    rf"(?<![0-9])(?P<own>{_NUMBER}(?:-[0-9]{{1,3}})?号)(?=我家|我们家|家里|家中|的?住户|自家)"
)
_PATTERNS: Final = (_FLAT, _DASHED, _HASHED, _HOUSE_OF_HOMES, _VILLAGE, _AT_HOME, _OWN)


def find_addresses(view: str) -> list[Span]:
    """Find buildings, entrances and rooms of homes, and house numbers where each is a home."""
    return union(
        *(scan(pattern, view) for pattern in _PATTERNS),
        scan(
            _ROOM_ALONE, view, lambda room: not _PUBLIC.search(view, max(room.start() - 12, 0), room.start())
        ),
    )
