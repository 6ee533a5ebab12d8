"""Takes what looks like a secret out of what leaves a machine, by the steps' own rules. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from importlib import resources

REDACTED = "[redacted]"
RULES = "secret-patterns.txt"
CLASSES = {"[:space:]": r"\s", "[:alnum:]": "A-Za-z0-9"}
KEY_BEGINS = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----")
KEY_ENDS = re.compile(r"-----END [A-Z ]*PRIVATE KEY-----")
KEY_LINE = re.compile(r"\s*[A-Za-z0-9+/=]+\s*")


def redact(text: str) -> str:
    """The text without secrets, line by line as `steps/redact.sh` does it. Twice is as once."""
    return "\n".join(_redact_lines(text.split("\n")))


def _redact_lines(lines: list[str]) -> Iterator[str]:
    in_key = False
    for line in lines:
        in_key = bool(KEY_BEGINS.search(line)) or (in_key and not KEY_ENDS.search(line))
        if in_key and KEY_LINE.fullmatch(line):
            yield REDACTED
            continue
        for pattern, replacement in _list_rules():
            line = pattern.sub(replacement, line)
        yield line


@cache
def _list_rules() -> tuple[tuple[re.Pattern[str], str], ...]:
    """Each rule with what it leaves: those of logs keep their first group, and come first."""
    text = (resources.files("ami_provider") / "steps" / RULES).read_text("utf-8")
    rules = [line.partition("\t") for line in text.splitlines() if not line.startswith("#")]
    kinds = {"log": rf"\g<1>{REDACTED}", "text": REDACTED}
    return tuple(
        (_compile(expression), replacement)
        for wanted, replacement in kinds.items()
        for kind, _, expression in rules
        if kind == wanted
    )


def _compile(expression: str) -> re.Pattern[str]:
    """An extended regular expression, as the steps' tools read it."""
    for name, characters in CLASSES.items():
        expression = expression.replace(name, characters)
    return re.compile(expression)
