"""What messages say: typed payloads that own their wording in Chinese and English.

Every payload has two texts. `public` is for the push on a locked screen: no personal data, nothing that tells
where somebody is or what they applied for. `private` is shown inside the app. Both are bounded.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Final

from msgspec import Meta, Struct

MAX_TITLE_CHARS: Final = 60
MAX_PUBLIC_CHARS: Final = 200
MAX_PRIVATE_CHARS: Final = 2_000

Id = Annotated[str, Meta(min_length=1, max_length=128)]
Name = Annotated[str, Meta(min_length=1, max_length=80)]
Title = Annotated[str, Meta(min_length=1, max_length=40)]
Summary = Annotated[str, Meta(min_length=1, max_length=150)]
Note = Annotated[str, Meta(min_length=1, max_length=500)]
Body = Annotated[str, Meta(min_length=1, max_length=1_800)]


class Language(StrEnum):
    """The languages that citizens are told things in."""

    ZH = "zh"
    EN = "en"

    @classmethod
    def of_locale(cls, locale: str) -> Language:
        """Choose by a device's locale (BCP 47): English for `en` and its regions, else Chinese."""
        return cls.EN if locale.lower().replace("_", "-").partition("-")[0] == "en" else cls.ZH


class Text(Struct, frozen=True):
    """A title of at most 60 characters and a body: public ones at most 200, private ones at most 2,000."""

    title: str
    body: str


class Payload(Struct, frozen=True, tag_field="kind", forbid_unknown_fields=True):
    """What every payload can say."""

    def public(self, language: Language) -> Text:
        """Word the push: without personal data."""
        raise NotImplementedError

    def private(self, language: Language) -> Text:
        """Word what the app shows."""
        raise NotImplementedError

    def data(self) -> dict[str, str]:
        """Give what the app needs beside the text to open the right screen; ids only."""
        return {}


class ApplicationStep(StrEnum):
    """A step of an application that its applicant is told of."""

    SUBMITTED = "SUBMITTED"
    ACCEPTED = "ACCEPTED"
    CORRECTION = "CORRECTION"
    REJECTED = "REJECTED"
    APPROVED = "APPROVED"
    DELIVERED = "DELIVERED"
    WITHDRAWN = "WITHDRAWN"


_APPLICATION_STEPS: Final = {
    ApplicationStep.SUBMITTED: ("已提交", "was submitted"),
    ApplicationStep.ACCEPTED: ("已受理", "was accepted for review"),
    ApplicationStep.CORRECTION: ("需要补正材料", "needs corrected materials"),
    ApplicationStep.REJECTED: ("未予批准", "was not approved"),
    ApplicationStep.APPROVED: ("已办结", "was approved"),
    ApplicationStep.DELIVERED: ("结果已送达", "has its result delivered"),
    ApplicationStep.WITHDRAWN: ("已撤回", "was withdrawn"),
}


class ApplicationProgress(Payload, frozen=True, tag="APPLICATION_PROGRESS"):
    """An application moved on."""

    application_id: Id
    item_name: Name
    step: ApplicationStep
    note: Note | None = None

    def public(self, language: Language) -> Text:
        """Word the push: without personal data."""
        if language is Language.EN:
            return Text("Application update", "One of your applications has news. Open the app to read it.")
        return Text("办件进度", "您的一项办件有新进展，请打开闽政通查看。")

    def private(self, language: Language) -> Text:
        """Word what the app shows."""
        chinese, english = _APPLICATION_STEPS[self.step]
        if language is Language.EN:
            return Text("Application update", f"“{self.item_name}” {english}.{_then(self.note, ' ')}")
        return Text("办件进度", f"您办理的“{self.item_name}”{chinese}。{self.note or ''}")

    def data(self) -> dict[str, str]:
        """Give what the app needs beside the text to open the right screen; ids only."""
        return {"application": self.application_id}


class ComplaintStage(StrEnum):
    """A step of the closed loop of a complaint (12345)."""

    ACCEPTED = "ACCEPTED"
    DISPATCHED = "DISPATCHED"
    HANDLING = "HANDLING"
    ANSWERED = "ANSWERED"
    RATING_ASKED = "RATING_ASKED"
    CALLED_BACK = "CALLED_BACK"
    CLOSED = "CLOSED"
    REFUSED = "REFUSED"
    ASKED = "ASKED"
    EXTENDED = "EXTENDED"
    MERGED = "MERGED"
    REOPENED = "REOPENED"
    MESSAGE = "MESSAGE"


_COMPLAINT_STAGES: Final = {
    ComplaintStage.ACCEPTED: ("已受理", "was accepted"),
    ComplaintStage.DISPATCHED: ("已转交承办单位", "was passed on to the unit in charge"),
    ComplaintStage.HANDLING: ("正在办理", "is being handled"),
    ComplaintStage.ANSWERED: ("已答复", "was answered"),
    ComplaintStage.RATING_ASKED: ("等待您的评价", "waits for your rating"),
    ComplaintStage.CALLED_BACK: ("已回访", "was followed up by a call"),
    ComplaintStage.CLOSED: ("已办结", "was closed"),
    ComplaintStage.REFUSED: ("不属于12345受理范围，已告知受理渠道", "is not for 12345; see who it is for"),
    ComplaintStage.ASKED: ("需要您补充情况", "needs more from you"),
    ComplaintStage.EXTENDED: ("已批准延长办理期限", "was given more time"),
    ComplaintStage.MERGED: ("已与同一事项的诉求合并办理", "goes on together with another about the same"),
    ComplaintStage.REOPENED: ("已重新办理", "was reopened"),
    ComplaintStage.MESSAGE: ("有新的留言", "has a new message"),
}


class ComplaintProgress(Payload, frozen=True, tag="COMPLAINT_STEP"):
    """A complaint took a step."""

    complaint_id: Id
    title: Name
    stage: ComplaintStage
    unit: Name | None = None
    note: Note | None = None

    def public(self, language: Language) -> Text:
        """Word the push: without personal data."""
        if language is Language.EN:
            return Text("Your request to 12345", "A request of yours has news. Open the app to read it.")
        return Text("12345 诉求进展", "您的诉求有新进展，请打开闽政通查看。")

    def private(self, language: Language) -> Text:
        """Word what the app shows."""
        chinese, english = _COMPLAINT_STAGES[self.stage]
        if language is Language.EN:
            unit = f" Unit: {self.unit}." if self.unit else ""
            return Text("Your request to 12345", f"“{self.title}” {english}.{unit}{_then(self.note, ' ')}")
        unit = f"承办单位：{self.unit}。" if self.unit else ""
        return Text("12345 诉求进展", f"您的诉求“{self.title}”{chinese}。{unit}{self.note or ''}")

    def data(self) -> dict[str, str]:
        """Give what the app needs beside the text to open the right screen; ids only."""
        return {"complaint": self.complaint_id}


class BusArriving(Payload, frozen=True, tag="BUS_ARRIVING"):
    """A bus that somebody waits for; the stop is private, because it tells where they are."""

    route_id: Id
    route_name: Name
    stop_id: Id
    stop_name: Name
    minutes: Annotated[int, Meta(ge=0, le=180)]

    def public(self, language: Language) -> Text:
        """Word the push: without personal data."""
        if language is Language.EN:
            return Text("Bus arriving", f"Route {self.route_name}: {_in_minutes(self.minutes, language)}.")
        return Text("公交到站提醒", f"{self.route_name}{_in_minutes(self.minutes, language)}。")

    def private(self, language: Language) -> Text:
        """Word what the app shows."""
        when = _in_minutes(self.minutes, language)
        if language is Language.EN:
            return Text("Bus arriving", f"Route {self.route_name} at {self.stop_name}: {when}.")
        return Text("公交到站提醒", f"{self.route_name}{when}，站点：{self.stop_name}。")

    def data(self) -> dict[str, str]:
        """Give what the app needs beside the text to open the right screen; ids only."""
        return {"route": self.route_id, "stop": self.stop_id}


class AirLevel(StrEnum):
    """The six levels of air quality (HJ 633)."""

    EXCELLENT = "EXCELLENT"
    GOOD = "GOOD"
    LIGHT = "LIGHT"
    MODERATE = "MODERATE"
    HEAVY = "HEAVY"
    SEVERE = "SEVERE"


_AIR_LEVELS: Final = {
    AirLevel.EXCELLENT: ("优", "excellent"),
    AirLevel.GOOD: ("良", "good"),
    AirLevel.LIGHT: ("轻度污染", "lightly polluted"),
    AirLevel.MODERATE: ("中度污染", "moderately polluted"),
    AirLevel.HEAVY: ("重度污染", "heavily polluted"),
    AirLevel.SEVERE: ("严重污染", "severely polluted"),
}


class AirQuality(Payload, frozen=True, tag="AIR_QUALITY"):
    """The air of a place crossed a threshold; the index is that of HJ 633, without unit."""

    place_id: Id
    place_name: Name
    aqi: Annotated[int, Meta(ge=0, le=500)]
    level: AirLevel
    pollutant: Name | None = None

    def public(self, language: Language) -> Text:
        """Word the push: without personal data."""
        chinese, english = _AIR_LEVELS[self.level]
        if language is Language.EN:
            return Text("Air quality", f"{self.place_name}: AQI {self.aqi}, {english}.")
        return Text("空气质量提醒", f"{self.place_name}空气质量指数 {self.aqi}，{chinese}。")

    def private(self, language: Language) -> Text:
        """Word what the app shows."""
        text = self.public(language)
        if self.pollutant is None:
            return text
        if language is Language.EN:
            return Text(text.title, f"{text.body} Primary pollutant: {self.pollutant}.")
        return Text(text.title, f"{text.body}首要污染物：{self.pollutant}。")

    def data(self) -> dict[str, str]:
        """Give what the app needs beside the text to open the right screen; ids only."""
        return {"place": self.place_id}


class WarningColour(StrEnum):
    """The four colours of public warnings, mildest first."""

    BLUE = "BLUE"
    YELLOW = "YELLOW"
    ORANGE = "ORANGE"
    RED = "RED"


_COLOURS: Final = {
    WarningColour.BLUE: ("蓝色", "Blue"),
    WarningColour.YELLOW: ("黄色", "Yellow"),
    WarningColour.ORANGE: ("橙色", "Orange"),
    WarningColour.RED: ("红色", "Red"),
}


class Hazard(StrEnum):
    """What a public warning is about."""

    RADIATION = "RADIATION"
    TYPHOON = "TYPHOON"
    RAINSTORM = "RAINSTORM"
    GALE = "GALE"
    HEAT = "HEAT"
    COLD = "COLD"
    THUNDERSTORM = "THUNDERSTORM"
    FOG = "FOG"
    FLOOD = "FLOOD"
    GEOLOGICAL = "GEOLOGICAL"


_HAZARDS: Final = {
    Hazard.RADIATION: ("辐射环境", "radiation"),
    Hazard.TYPHOON: ("台风", "typhoon"),
    Hazard.RAINSTORM: ("暴雨", "rainstorm"),
    Hazard.GALE: ("大风", "gale"),
    Hazard.HEAT: ("高温", "heat"),
    Hazard.COLD: ("寒潮", "cold wave"),
    Hazard.THUNDERSTORM: ("雷电", "thunderstorm"),
    Hazard.FOG: ("大雾", "fog"),
    Hazard.FLOOD: ("洪水", "flood"),
    Hazard.GEOLOGICAL: ("地质灾害", "landslide"),
}


class PublicWarning(Payload, frozen=True, tag="WARNING"):
    """A warning of radiation or weather; nothing about it is private."""

    warning_id: Id
    hazard: Hazard
    colour: WarningColour
    place_name: Name
    issuer: Name
    advice: Summary | None = None

    def public(self, language: Language) -> Text:
        """Word the push: without personal data."""
        hazard, colour = _HAZARDS[self.hazard], _COLOURS[self.colour]
        if language is Language.EN:
            body = f"{self.place_name}, issued by {self.issuer}.{_then(self.advice, ' ')}"
            return _public(f"{colour[1]} warning: {hazard[1]}", body)
        body = f"{self.issuer}发布{self.place_name}{hazard[0]}{colour[0]}预警。{self.advice or ''}"
        return _public(f"{hazard[0]}{colour[0]}预警", body)

    def private(self, language: Language) -> Text:
        """Word what the app shows."""
        return self.public(language)

    def data(self) -> dict[str, str]:
        """Give what the app needs beside the text to open the right screen; ids only."""
        return {"warning": self.warning_id}


class AuthorityNotice(Payload, frozen=True, tag="AUTHORITY"):
    """What an authority tells its subscribers; English falls back to Chinese where none was written."""

    authority: Name
    title: Title
    summary: Summary
    body: Body
    title_en: Title | None = None
    summary_en: Summary | None = None
    body_en: Body | None = None

    def public(self, language: Language) -> Text:
        """Word the push: without personal data."""
        if language is Language.EN:
            return _public(self.title_en or self.title, self.summary_en or self.summary)
        return _public(self.title, self.summary)

    def private(self, language: Language) -> Text:
        """Word what the app shows."""
        if language is Language.EN:
            return Text(self.title_en or self.title, f"{self.body_en or self.body}\n{self.authority}")
        return Text(self.title, f"{self.body}\n{self.authority}")


class SystemEvent(StrEnum):
    """What the system itself tells an account."""

    NEW_SIGN_IN = "NEW_SIGN_IN"
    SESSION_ENDING = "SESSION_ENDING"
    EXPORT_READY = "EXPORT_READY"
    DEVICE_REMOVED = "DEVICE_REMOVED"
    AGENT_APPOINTED = "AGENT_APPOINTED"
    AGENT_DISMISSED = "AGENT_DISMISSED"


_SYSTEM_EVENTS: Final = {
    SystemEvent.NEW_SIGN_IN: (
        "您的账号在新设备上登录。如非本人操作，请立即退出所有设备。",
        "Your account was used to sign in on a new device. If that was not you, sign out everywhere now.",
    ),
    SystemEvent.SESSION_ENDING: (
        "您的登录即将到期，请重新登录。",
        "You will be signed out soon. Please sign in again.",
    ),
    SystemEvent.EXPORT_READY: ("您申请的个人数据已可下载。", "The personal data you asked for is ready."),
    SystemEvent.DEVICE_REMOVED: (
        "一台设备不再接收通知。",
        "One of your devices does not receive notifications any more.",
    ),
    SystemEvent.AGENT_APPOINTED: (
        "有企业委任您为代理人，请在“我的企业”中接受或谢绝。统一社会信用代码：",
        "A company has appointed you as its agent; accept or decline in the app. Unified social credit code:",
    ),
    SystemEvent.AGENT_DISMISSED: (
        "您不再是企业的代理人。统一社会信用代码：",
        "You are no agent of a company any more. Unified social credit code:",
    ),
}


class SystemNotice(Payload, frozen=True, tag="SYSTEM"):
    """News about the account itself; `detail` is private (a device's name, say)."""

    event: SystemEvent
    detail: Name | None = None

    def public(self, language: Language) -> Text:
        """Word the push: without personal data."""
        if language is Language.EN:
            return Text("Your account", "There is news about your account. Open the app to read it.")
        return Text("账号提醒", "您的账号有新的提醒，请打开闽政通查看。")

    def private(self, language: Language) -> Text:
        """Word what the app shows."""
        chinese, english = _SYSTEM_EVENTS[self.event]
        if language is Language.EN:
            return Text("Your account", f"{english}{_then(self.detail, ' ')}")
        return Text("账号提醒", f"{chinese}{self.detail or ''}")


class DigestNotice(Payload, frozen=True, tag="DIGEST"):
    """How many messages came since the last digest; it has no place in the inbox, where they are.

    `ways` are those on which the citizen wants it (domain.preferences.NotificationWay).
    """

    count: Annotated[int, Meta(ge=1)]
    ways: tuple[str, ...]

    def public(self, language: Language) -> Text:
        """Word the push: without personal data."""
        if language is Language.EN:
            news = "1 new message" if self.count == 1 else f"{self.count:,} new messages"
            return Text("Your messages", f"You have {news}. Open the app to read.")
        return Text("消息摘要", f"您有 {self.count} 条新消息，请打开闽政通查看。")

    def private(self, language: Language) -> Text:
        """Word what the app shows."""
        return self.public(language)


AnyPayload = (
    ApplicationProgress
    | ComplaintProgress
    | BusArriving
    | AirQuality
    | PublicWarning
    | AuthorityNotice
    | SystemNotice
    | DigestNotice
)


def _public(title: str, body: str) -> Text:
    return Text(_cut(title, MAX_TITLE_CHARS), _cut(body, MAX_PUBLIC_CHARS))


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


def _then(text: str | None, before: str) -> str:
    return f"{before}{text}" if text else ""


def _in_minutes(minutes: int, language: Language) -> str:
    if language is Language.EN:
        return "arriving now" if minutes == 0 else f"arriving in {minutes} min"
    return "即将到站" if minutes == 0 else f"约 {minutes} 分钟后到站"
