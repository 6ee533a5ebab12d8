"""An image's identity: a hash of its readable manifest, and what differs between two, in words."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

FINGERPRINT_VERSION = 1
"""Part of every fingerprint: raising it rebuilds every AMI of every user.

Raise it when the same manifest must give another image from now on: a field changed its meaning,
or the provider's own steps put something else into the image that the old images lack and jobs
need. Do not raise it for a new optional field (leave it out of the manifest at its default), a
faster or better explained step, or anything outside the image.
"""

Manifest = Mapping[str, Any]


def fingerprint(manifest: Manifest) -> str:
    """64 hexadecimal digits, the same on every machine and Python for the same content."""
    text = f"baked-ami {FINGERPRINT_VERSION}\n{canonical_json(manifest)}"
    return hashlib.sha256(text.encode("ascii")).hexdigest()


def content_fingerprint(manifest: Manifest, base_source: str) -> str:
    """As `fingerprint`, with what the base AMI was asked for by in place of the AMI found.

    Two images that share it differ at most in how new their base AMI is.
    """
    return fingerprint({**manifest, "base": {"source": base_source}})


def canonical_json(value: object) -> str:
    """JSON with one spelling: sorted keys, no blanks, ASCII, whole numbers without a point."""
    return json.dumps(
        whole_numbers(value), sort_keys=True, separators=(",", ":"), ensure_ascii=True
    )


def whole_numbers(value: Any) -> Any:
    """The same data with every float that is whole as an int (Pulumi sends 30 as 30.0)."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, Mapping):
        return {str(key): whole_numbers(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [whole_numbers(item) for item in value]
    return value


def explain(old: Manifest, new: Manifest, labels: Mapping[str, str] | None = None) -> list[str]:
    """The lines of the manifest that differ, in words a person reads; empty where none does.

    `labels` gives an image repository's short name, such as `batch-processor:latest`.
    """
    old, new, names = whole_numbers(old), whole_numbers(new), labels or {}
    lines = [
        *_explain_base(old.get("base", {}), new.get("base", {})),
        *_explain_images(old.get("images", []), new.get("images", []), names),
        *_explain_items("model", "destination", old.get("models", []), new.get("models", [])),
        *_explain_steps(old.get("extra_steps", []), new.get("extra_steps", [])),
    ]
    told = {"base", "images", "models", "extra_steps"}
    for key in sorted((old.keys() | new.keys()) - told):
        lines += _explain_value(key.replace("_", " "), old.get(key), new.get(key))
    return lines


def _explain_base(old: Manifest, new: Manifest) -> Iterator[str]:
    if old != new:
        yield f"base AMI: {_base(old)} -> {_base(new)}"


def _base(base: Manifest) -> str:
    name = base.get("name")
    return f"{base.get('ami_id', 'none')} ({name})" if name else str(base.get("ami_id", "none"))


def _explain_images(
    old: list[Manifest], new: list[Manifest], labels: Mapping[str, str]
) -> Iterator[str]:
    """Images pair up by repository; where one has several, those of both sides drop out first."""
    gone = [i for i in old if i not in new]
    come = [i for i in new if i not in old]
    for repository in sorted({str(i["repository"]) for i in gone + come}):
        label = labels.get(repository) or repository.partition("/")[2] or repository
        before = [str(i["digest"]) for i in gone if i["repository"] == repository]
        after = [str(i["digest"]) for i in come if i["repository"] == repository]
        for a, b in zip(before, after, strict=False):
            yield f"image {label}: digest {_short(a)} -> {_short(b)}"
        for b in after[len(before) :]:
            yield f"image {label}: added (digest {_short(b)})"
        for a in before[len(after) :]:
            yield f"image {label}: removed (digest {_short(a)})"


def _explain_items(kind: str, key: str, old: list[Manifest], new: list[Manifest]) -> Iterator[str]:
    before, after = {str(i[key]): i for i in old}, {str(i[key]): i for i in new}
    name = _shortest_names(before.keys() | after.keys())
    for place in sorted(before.keys() | after.keys()):
        a, b = before.get(place), after.get(place)
        if a is None:
            yield f"{kind} {name(place)}: added"
        elif b is None:
            yield f"{kind} {name(place)}: removed"
        elif a != b:
            fields = [f for f in sorted(a.keys() | b.keys()) if a.get(f) != b.get(f)]
            changes = [f"{f.replace('_', ' ')} {_short(a.get(f))} -> {_short(b.get(f))}"
                       for f in fields]  # fmt: skip
            yield f"{kind} {name(place)}: {', '.join(changes)}"


def _explain_steps(old: list[Manifest], new: list[Manifest]) -> Iterator[str]:
    yield from _explain_items("extra step", "name", old, new)
    before, after = [s["name"] for s in old], [s["name"] for s in new]
    if before != after and sorted(before) == sorted(after):
        yield f"extra steps: order {', '.join(before)} -> {', '.join(after)}"


def _explain_value(name: str, old: Any, new: Any) -> Iterator[str]:
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for key in sorted(old.keys() | new.keys()):
            yield from _explain_value(f"{name} {key.replace('_', ' ')}", old.get(key), new.get(key))
    elif old != new:
        yield f"{name}: {_short(old)} -> {_short(new)}"


def _shortest_names(paths: set[str]) -> Callable[[str], str]:
    """File names for paths, or the whole path where two files share a name."""
    names = [path.rpartition("/")[2] for path in paths]
    return lambda path: path if names.count(last := path.rpartition("/")[2]) > 1 else last


def _short(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    if isinstance(value, dict):
        return canonical_json(value)
    text = str(value)
    digest = text.removeprefix("sha256:")
    is_hash = len(digest) >= 32 and all(c in "0123456789abcdef-" for c in digest)
    return f"{text[: len(text) - len(digest) + 12]}…" if is_hash else text
