"""Takes what looks like a secret out of what leaves a machine, by the steps' own rules. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import cache
from importlib import resources

REDACTED = "[redacted]"
MARKED = "[secret]"
"""As Pulumi itself writes what a program marked as secret."""
RULES = "secret-patterns.txt"
CLASSES = {"[:space:]": r"\s", "[:alnum:]": "A-Za-z0-9"}
KEY_BEGINS = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----")
KEY_ENDS = re.compile(r"-----END [A-Z ]*PRIVATE KEY-----")
KEY_LINE = re.compile(r"\s*[A-Za-z0-9+/=]+\s*")


_secrets: set[str] = set()
"""Texts that the program marked as secret."""
SHORTEST = 3
"""Characters of a secret that is looked for; Pulumi too leaves shorter ones, which are anywhere."""


def keep_out(secrets: Iterable[str]) -> None:
    """Take these texts out of everything from now on, as the program marked them as secret."""
    _secrets.update(text for text in secrets if len(text) >= SHORTEST)


def redact(text: str) -> str:
    """The text without secrets, line by line as `steps/redact.sh` does it. Twice is as once."""
    return "\n".join(_redact_lines(redact_marked(text).split("\n")))


def redact_marked(text: str) -> str:
    """The text without what the program marked as secret."""
    for secret in sorted(_secrets, key=len, reverse=True):
        text = text.replace(secret, MARKED)
    return text


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
