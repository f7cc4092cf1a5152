"""An operator's limits for complaints: a TOML file of `[[rule]]` tables, upon the rules of the province."""

from __future__ import annotations

from pathlib import Path

import msgspec
from msgspec import Struct

from domain.complaint_limits import InvalidLimitRulesError, LimitRule, LimitRules, limit_rules


class _File(Struct, forbid_unknown_fields=True):
    rule: list[LimitRule]


def load_limit_rules(file: Path | None) -> LimitRules:
    """Read a file of rules; None: the rules of the province alone.

    Raises: InvalidLimitRulesError, whose reason names the file and the rule.
    """
    if file is None:
        return limit_rules()
    try:
        rules = msgspec.toml.decode(file.read_bytes(), type=_File).rule
    except OSError as error:
        raise InvalidLimitRulesError(reason=f"{file}: {error.strerror or error}") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidLimitRulesError(reason=f"{file}: {error}") from error
    try:
        return limit_rules(rules)
    except InvalidLimitRulesError as error:
        raise InvalidLimitRulesError(reason=f"{file}: {error.params['reason']}") from error
