"""Codes and words."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator

import pytest
from api_harness import InProcess
from structlog.testing import capture_logs

from api.errors import has_texts, text_of
from domain.errors import DomainError

FLOORS = ("domain", "store", "loaders", "operations", "notifications", "resolvers", "feeds")


def every_domain_error() -> list[type[DomainError]]:
    for floor in FLOORS:
        package = importlib.import_module(floor)
        for module in pkgutil.walk_packages(package.__path__, f"{floor}."):
            if not module.name.endswith("__main__"):
                importlib.import_module(module.name)

    def below(parent: type[DomainError]) -> Iterator[type[DomainError]]:
        for child in parent.__subclasses__():
            yield child
            yield from below(child)

    return sorted(set(below(DomainError)), key=lambda error: (error.__module__, error.__name__))


def test_every_domain_error_has_words_in_both_languages() -> None:
    errors = [error for error in every_domain_error() if error.__module__.partition(".")[0] in FLOORS]
    assert errors
    missing = [
        f"{error.__module__}.{error.__name__} ({error.code})" for error in errors if not has_texts(error.code)
    ]
    assert missing == []
    same = [e.code for e in errors if text_of(e.code, "zh", {}) == text_of(e.code, "en", {})]
    assert same == []


def test_unknown_errors_are_masked_and_logged(client: InProcess) -> None:
    with capture_logs() as logs:
        answer = client.query("{ boom }", x_request_id="r-77")
    (error,) = answer.json["errors"]
    assert error == {
        "message": "系统内部错误，请稍后重试。反馈时请提供请求编号 r-77。",
        "locations": [{"line": 1, "column": 3}],
        "path": ["boom"],
        "extensions": {"code": "INTERNAL_ERROR", "requestId": "r-77"},
    }
    (entry,) = [log for log in logs if log["event"] == "graphql.unexpected_error"]
    assert (entry["request_id"], str(entry["exc_info"])) == ("r-77", "the password is hunter2")


@pytest.mark.parametrize("field", ["wrongType", "hardBoom"])
def test_broken_resolvers_tell_nothing(client: InProcess, field: str) -> None:
    answer = client.query(f"{{ {field} }}", accept_language="en")
    (error,) = answer.json["errors"]
    assert error["extensions"]["code"] == "INTERNAL_ERROR"
    assert error["message"].startswith("Internal error. Please try again later and quote request ")
    assert b"hunter2" not in answer.body
    assert b"not an int" not in answer.body


def test_domain_errors_are_worded(client: InProcess) -> None:
    answer = client.query("{ refused }")
    (error,) = answer.json["errors"]
    assert (error["message"], error["extensions"]) == ("编号 x1 无效。", {"code": "INVALID_ID", "id": "x1"})
    (error,) = client.query("{ refused }", accept_language="en").json["errors"]
    assert error["message"] == "x1 is not a valid id."


def test_an_argument_out_of_range_is_the_clients_fault(client: InProcess) -> None:
    answer = client.query("query ($i: [ID!]!) { byIds(ids: $i) { id } }", {"i": [None]})
    assert (answer.status, answer.codes) == (400, ["BAD_USER_INPUT"])
    assert answer.json["errors"][0]["message"].startswith("请求的参数不正确：")


def test_logs_tell_neither_variables_nor_documents(client: InProcess) -> None:
    with capture_logs() as logs:
        client.query("query Secret($name: String) { hello(name: $name) boom }", {"name": "身份证号"})
        client.query("{ secretField }")
        client.post(b'{"secret": "350102"')
    text = repr([{key: value for key, value in log.items() if key != "exc_info"} for log in logs])
    assert "graphql.request" in text
    for word in ("身份证号", "ecret", "350102", "127.0.0.1"):
        assert word not in text


def test_validation_messages_are_bounded(client: InProcess) -> None:
    answer = client.query("{ " + "x" * 5000 + " }")
    assert len(answer.json["errors"][0]["message"]) < 400
    answer = client.query("{ a b c d e f g h }")
    assert len(answer.codes) == 6
