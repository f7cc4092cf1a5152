"""What refusals of imports and publications mean for the operator at the terminal."""

from __future__ import annotations

from domain.errors import DomainError

TEXTS = {
    "INVALID_PHONE": "That is no mobile number of the mainland: 11 digits.",
    "INVALID_GRANT": "{reason}.",
    "INVALID_COMPANY_CODE": "The unified social credit code is wrong: 18 characters with a check digit.",
    "INVALID_DIVISION_CODE": "{code} is no division code: 6 or 9 digits.",
    "ACCOUNT_CLOSED": "The account is being deleted.",
    "TOO_MANY_SUBSCRIPTIONS": "The account follows as many topics as it may.",
    "INVALID_TEXT": "{field} must have 1 to {maximum} characters.",
    "INVALID_TABLE": "Line {line}, column {column}: {reason}. Nothing was imported.",
    "UNITS_SHRUNK": "This table lacks {missing} of the {units} units. "
    "Nothing was changed; add --force if they are really gone.",
    "LIST_CHANGED": "Somebody else has just replaced {list}. Try again.",
    "CATALOGUE_SHRUNK": "This full load lacks {missing} of the {items} items of feed {feed}. "
    "None was withdrawn; add --force if they are really gone.",
    "CALENDAR_NOT_PUBLISHED": "The working days of {year} are not known. Once the State Council has "
    "published them, put the year's file (form holiday-cn) into the folder MINTONG_HOLIDAYS.",
    "INVALID_HOLIDAYS": "{reason}.",
    "INVALID_LIMIT_RULES": "{reason}.",
    "INVALID_MAPPING": "Mapping {mapping}: {reason}.",
    "SOURCE_UNAVAILABLE": "{source}: {reason}.",
    "UNREADABLE_FILE": "{file}: {reason}.",
    "IMPORT_RUNNING": "Another import of feed {feed} is running. "
    "Wait for it, or for {seconds} s if it was killed.",
    "PUBLICATION_RUNNING": "Another process is publishing with this MINTONG_HOME. Wait for it.",
    "VERSION_CONFLICT": "Version {published} was published meanwhile, so version {version} was dropped. "
    "`mintong catalogue status` tells whether anything still waits.",
    "UNKNOWN_ITEMS": "None of these ids ({count}) names an item.",
    "TOO_MANY_WITHDRAWN": "More than {limit} items would be withdrawn since the last publication. "
    "Publish first: `mintong catalogue publish`.",
    "MESSAGE_NOT_FOUND": "There is no message {id}.",
    "STEP_NOT_ALLOWED": "This cannot be done to a message that is {state}.",
    "SNAPSHOT_MISSING": "No snapshot of version {version} is stored. "
    "Publish anew: `mintong catalogue publish`.",
}


def explain_refusal(error: DomainError) -> str:
    """Return what happened and what to do, in one line."""
    text = TEXTS.get(error.code)
    return text.format_map(error.params) if text else str(error)
