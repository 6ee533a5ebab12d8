"""Finds the errors in the source of `ami_provider`, with their words as a reader sees them."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import NamedTuple

RAISED = {"BakeError", "StepError", "ImagePendingError", "InUseError", "bake_error"}
INPUTS = {"Fault": 1, "ValueError": 0}
"""What refuses an input, and which argument says why."""


class Told(NamedTuple):
    """One error; `why` is "" where it is put together from what AWS or a log said."""

    brief: str
    why: str
    remedy: str


def find_errors() -> list[Told]:
    """Each error of a bake that is raised with a remedy of its own, in order of its words."""
    found = set()
    for call, name in _calls():
        arguments = call.args[1:] if name == "bake_error" else call.args
        if name in RAISED and len(arguments) == 3:
            brief, why, remedy = map(_words, arguments)
            if name == "bake_error":
                why = "AWS refused or did not answer, as above"
            if brief and remedy:
                found.add(Told(brief, why, remedy))
    return sorted(found)


def find_refusals() -> list[str]:
    """What is said of each input that is refused, in order of its words."""
    found = set()
    for call, name in _calls():
        if name in INPUTS and len(call.args) > INPUTS[name]:
            words = _words(call.args[INPUTS[name]])
            if len(re.findall(r"\b[a-z]{2,}", words)) > 3 and "REASON" not in words:
                found.add(words)
    return sorted(found, key=str.lower)


def _calls() -> Iterator[tuple[ast.Call, str]]:
    folder = Path(str(resources.files("ami_provider")))
    for file in sorted(folder.rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                yield node, node.func.id


def _words(node: ast.expr) -> str:
    """The text of an expression, in capitals what is filled in; "" where it is not a text."""
    match node:
        case ast.Constant(value=str(text)):
            return " ".join(text.split())
        case ast.JoinedStr(values=parts):
            return " ".join("".join(_part(part) for part in parts).split())
        case ast.IfExp(body=body, orelse=otherwise):
            return _words(body) or _words(otherwise)
        case ast.BoolOp(values=choices):
            return _words(choices[-1])
    return ""


def _part(node: ast.expr) -> str:
    if isinstance(node, ast.Constant):
        return str(node.value)
    assert isinstance(node, ast.FormattedValue)
    return _name(node.value).upper().replace("_", " ").strip() or "…"


def _name(node: ast.expr) -> str:
    """What a reader may call a value: its last name."""
    match node:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
        case ast.Subscript(slice=ast.Constant(value=str(key))):
            return "".join(f" {c}" if c.isupper() else c for c in key)
        case ast.Subscript(value=inner) | ast.BinOp(left=inner) | ast.IfExp(body=inner):
            return _name(inner)
        case ast.Call(args=[first, *_]):
            return _name(first)
        case ast.Call(func=ast.Attribute(value=inner)):
            return _name(inner)
        case ast.BoolOp(values=[first, *_]):
            return _name(first)
    return ""
