"""Texts of complaints with their personal data marked, and the maker of the generated part of them.

`tests/domain/redaction_corpus.csv` holds one text a row; `{KIND|…}` marks what has to be found. Rows of
origin `hand` were written by hand while the rules grew; those of origin `later` afterwards, and what was
missed of them went into the rules when these were changed next; those of origin `fresh` before that change,
which was made without a look at what was missed of them. Rows of origin `generated` come from here;
`python -m tests.redaction_texts write` writes them anew, and `measure` tells how much is found.

All data is invented; mobile numbers begin with blocks that no telephone has.
"""

from __future__ import annotations

import csv
import random
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from domain.redaction import redact
from feeds import demo

CORPUS = Path(__file__).parent / "domain/redaction_corpus.csv"
_MARK = re.compile(r"\{([A-Z_]+)\|([^}]*)\}")
_SEED = 20261122
_PERSONAL = 190
_CLEAN = 40


def _words(text: str) -> list[str]:
    return text.split()


_SURNAMES = "陈林黄张吴李郑王刘苏蔡杨许叶郭谢赖曾邱江罗何周徐余方肖潘卢魏沈詹游高施洪翁颜柯庄连简涂邹阮"
_GIVEN = _words("""
建平 秀珍 志鹏 丽华 国强 美玲 小燕 文杰 晓东 雅琴 海波 玉兰 伟 芳 敏 军 燕 斌
静 勇 子涵 梓轩 雨桐 浩宇 欣怡 金水 阿英 木根 春花 水生 国栋 振华 永福 惠玲 宝珠
德明 清源 明辉 少华 碧云 淑贞 锦辉 景行 一诺 思远 佳慧 天赐 荣华 庆祥 丽萍
""")
_ROADS = _words("""
五四路 湖东路 八一七北路 金榕南路 福马路 上三路 工业路 东大路 古田路 津泰路
""")
_HOMES = _words("""
阳光花园 金山碧水小区 融侨新村 锦绣家园 东方名苑 鹤林新城 凤湖公寓 福州嘉园 江滨花苑
三木家园
""")
_MATTERS = _words("""
楼道堆放杂物 路灯不亮 电梯经常困人 夜间施工扰民 占道经营 自来水发黄 培训机构不退费
拖欠工资 油烟扰民 公交不停站 井盖缺失 养老金没有到账 医院重复收费 物业乱收费 消防通道被占
""")
_PROVINCES = "闽闽闽闽闽粤浙赣沪京"


class Text(NamedTuple):
    """A text without marks, where its personal data is, and where it comes from."""

    origin: str
    text: str
    spans: list[tuple[str, int, int]]


def parse(origin: str, marked: str) -> Text:
    """Take the marks out of a text and remember them."""
    text, spans, place = "", [], 0
    for mark in _MARK.finditer(marked):
        text += marked[place : mark.start()]
        spans.append((mark[1], len(text), len(text) + len(mark[2])))
        text += mark[2]
        place = mark.end()
    return Text(origin, text + marked[place:], spans)


def read_corpus() -> list[tuple[str, str]]:
    """Read the corpus: origin and marked text of each row."""
    with CORPUS.open(encoding="utf-8", newline="") as file:
        return [(row["origin"], row["text"]) for row in csv.DictReader(file)]


class Maker:
    """Makes marked texts from templates; the same seed makes the same texts."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def _pick(self, choices: object) -> str:
        return self._random.choice(choices)  # type: ignore[call-overload,no-any-return]

    def _digits(self, count: int) -> str:
        return "".join(self._random.choices("0123456789", k=count))

    def phone(self) -> str:
        number = self._pick(["140", "142", "143", "144", "154"]) + self._digits(8)
        shapes: list[Callable[[str], str]] = [
            lambda n: n,
            lambda n: n,
            lambda n: f"{n[:3]} {n[3:7]} {n[7:]}",
            lambda n: f"{n[:3]}-{n[3:7]}-{n[7:]}",
            lambda n: f"+86 {n}",
            lambda n: n.translate(str.maketrans("0123456789", "０１２３４５６７８９")),
            lambda n: n.translate(str.maketrans("0123456789", "零一二三四五六七八九")),
            lambda n: f"{n[:4]} {n[4:7]} {n[7:]}",
            lambda _: f"0591-{self._pick('38')}{self._digits(7)}",
        ]
        return f"{{PHONE|{self._random.choice(shapes)(number)}}}"

    def resident_id(self) -> str:
        head = (
            self._pick(["350102", "350203", "350521", "352201"])
            + self.day("{:04}{:02}{:02}")
            + self._digits(3)
        )
        weights = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
        check = "10X98765432"[sum(int(n) * w for n, w in zip(head, weights, strict=True)) % 11]
        if self._random.random() < 0.2:  # a wrong one
            check = "10X98765432"[("10X98765432".index(check) + 1) % 11]
        return f"{{RESIDENT_ID|{head}{check}}}"

    def day(self, form: str) -> str:
        pick = self._random.randint
        return form.format(pick(1940, 2015), pick(1, 12), pick(1, 28))

    def card(self) -> str:
        head = self._pick(["621700", "622848", "621483", "622202"]) + self._digits(12)
        digits = [int(each) for each in head]
        doubled = [2 * d - 9 * (d > 4) if place % 2 == 0 else d for place, d in enumerate(reversed(digits))]
        number = f"{head}{-sum(doubled) % 10}"
        if self._random.random() < 0.4:
            number = " ".join(number[place : place + 4] for place in range(0, 19, 4))
        return f"{{BANK_CARD|{number}}}"

    def plate(self) -> str:
        letters = "ABCDEFGHJK"
        place = self._pick(_PROVINCES) + self._pick(letters)
        dot = self._pick(["", "", "·", " "])
        if self._random.random() < 0.3:
            return f"{{PLATE|{place}{dot}{self._pick('DF')}{self._digits(5)}}}"
        return f"{{PLATE|{place}{dot}{self._digits(2)}{self._pick(letters)}{self._digits(2)}}}"

    def email(self) -> str:
        host = self._pick(["qq.com", "163.com", "sina.cn", "example.com.cn"])
        return f"{{EMAIL|{self._pick(['lin', 'fz_user', 'w.chen'])}{self._digits(4)}@{host}}}"

    def account(self) -> str:
        return f"{{ACCOUNT|{self._pick(['wx_', 'fj-', 'abc'])}{self._digits(6)}}}"

    def birth_date(self) -> str:
        return f"{{BIRTH_DATE|{self.day(self._pick(['{}年{}月{}日', '{}-{:02}-{:02}', '{}.{}.{}']))}}}"

    def home(self) -> str:
        pick = self._random.randint
        room = f"{pick(1, 20)}0{pick(1, 8)}"
        shape = self._pick(
            ["{b}号楼{u}单元{r}室", "{b}栋{r}", "{b}幢{r}室", "{b}座{r}房", "{b}#{r}", "{b}号楼{u}单元"]
        )
        return f"{self._pick(_HOMES)}{{ADDRESS|{shape.format(b=pick(1, 30), u=pick(1, 3), r=room)}}}"

    def name(self) -> str:
        return f"{{NAME|{self._pick(_SURNAMES)}{self._pick(_GIVEN)}}}"

    def surname(self) -> str:
        return f"{{NAME|{self._pick(_SURNAMES)}}}"

    def personal(self) -> str:
        """Make a text with personal data in it."""
        road, matter, title = (
            self._pick(_ROADS),
            self._pick(_MATTERS),
            self._pick(["先生", "女士", "老师", "经理"]),
        )
        templates: list[Callable[[], str]] = [
            lambda: f"我叫{self.name()}，住{road}{self.home()}，反映{matter}，电话{self.phone()}。",
            lambda: f"联系人：{self.name()} {self.phone()}，{road}{matter}，请尽快处理。",
            lambda: f"{self.surname()}{title}反映{road}附近{matter}，联系方式{self.phone()}。",
            lambda: f"申请人{self.name()}，身份证号{self.resident_id()}，咨询{matter}怎么办理。",
            lambda: f"投诉{self.plate()}长期占用{road}公交站，影响通行。",
            lambda: f"举报{self._pick(_HOMES)}附近{matter}，车牌号{self.plate()}，请查处。",
            lambda: f"退款请打到卡号{self.card()}，户名{self.name()}，因{matter}。",
            lambda: f"因{matter}被扣款，银行卡{self.card()}，至今没有退还。",
            lambda: f"材料已发到邮箱{self.email()}，事由：{matter}。",
            lambda: f"请加微信{self.account()}联系，{road}{matter}。",
            lambda: f"{self.home()}业主{self.name()}反映{matter}。",
            lambda: f"我家住{self.home()}，楼下{matter}已经半年。",
            lambda: f"我母亲{self.name()}，{self.birth_date()}出生，{matter}，请帮助。",
            lambda: f"出生日期：{self.birth_date()}，姓名：{self.name()}，事项：{matter}。",
            lambda: f"司机{self.name()}驾驶{self.plate()}在{road}乱停乱放。",
            lambda: (
                f"和邻居{self.name()}因为{matter}发生纠纷，请{self.surname()}主任调解，电话{self.phone()}。"
            ),
        ]
        return self._random.choice(templates)()

    def clean(self) -> str:
        """Make a text without personal data, with figures that could be taken for some."""
        pick = self._random.randint
        road, matter = self._pick(_ROADS), self._pick(_MATTERS)
        templates: list[Callable[[], str]] = [
            lambda: f"{road}{pick(1, 300)}号门口{matter}，已拨打12345三次。",
            lambda: f"{pick(1, 400)}路公交车在{road}站{matter}，等了{pick(20, 90)}分钟。",
            lambda: f"2026年{pick(1, 12)}月{pick(1, 28)}日{pick(0, 23)}:{pick(10, 59)}起{road}一带{matter}。",
            lambda: f"合同金额{pick(1000, 99999)}元，工单号26{self._digits(11)}，{matter}一直没有解决。",
            lambda: f"按照条例第{pick(10, 99)}条，{matter}应由谁负责？热线96{pick(100, 999)}打不通。",
        ]
        return self._random.choice(templates)()


def generate() -> list[str]:
    """Make the generated texts, all different."""
    maker = Maker(_SEED)
    texts: dict[str, None] = {}
    while len(texts) < _PERSONAL:
        texts[maker.personal()] = None
    while len(texts) < _PERSONAL + _CLEAN:
        texts[maker.clean()] = None
    return list(texts)


def covered(text: Text) -> list[tuple[str, bool]]:
    """Tell of every mark whether redaction leaves nothing of it."""
    hidden = {place for each in redact(text.text).found for place in range(each.start, each.end)}
    return [(kind, hidden.issuperset(range(start, end))) for kind, start, end in text.spans]


def recall(texts: list[Text]) -> dict[str, tuple[int, int]]:
    """Count by kind what is removed whole, and what is marked."""
    outcomes = [outcome for text in texts for outcome in covered(text)]
    marked = Counter(kind for kind, _ in outcomes)
    removed = Counter(kind for kind, is_removed in outcomes if is_removed)
    return {kind: (removed[kind], marked[kind]) for kind in sorted(marked)}


def prose() -> Iterator[str]:
    """Yield what the demo says of service items, part by part, all different: nobody's name is in it."""
    parts: dict[str, None] = {}
    for path in sorted((Path(demo.__file__).parent / "items").glob("*.csv")):
        with path.open(encoding="utf-8", newline="") as file:
            cells = [cell for row in csv.reader(file) for cell in row]
        parts |= dict.fromkeys(part for cell in cells for part in re.split(r"[;|；]", cell) if part)
    yield from parts


def measure() -> None:
    """Print recall by origin and kind, and how often something is found where nothing is."""
    texts = [parse(*row) for row in read_corpus()]
    for origin in ("hand", "generated", "later", "fresh"):
        for kind, (removed, marked) in recall([text for text in texts if text.origin == origin]).items():
            print(f"{origin:10} {kind:12} {removed:4} of {marked:4} {removed / marked:.3f}")
    clean = [text.text for text in texts if not text.spans]
    for name, some in (("texts without personal data", clean), ("parts of official prose", list(prose()))):
        found = sum(bool(redact(each).found) for each in some)
        print(f"found in {found} of {len(some)} {name}, {sum(map(len, some)):,} characters")


def write() -> None:
    """Write the generated rows of the corpus anew."""
    rows = [row for row in read_corpus() if row[0] != "generated"]
    with CORPUS.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerows([("origin", "text"), *rows, *(("generated", text) for text in generate())])


if __name__ == "__main__":
    {"measure": measure, "write": write}[sys.argv[1]]()
