"""What differs between two manifests, in words that a person reads. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from ami_provider.fingerprint import canonical_json, whole_numbers
from ami_provider.redaction import MARKED
from ami_provider.secrecy import part_hidden

Manifest = Mapping[str, Any]

UNITS = {"size_gib": ("size", " GiB"), "iops": ("IOPS", ""), "throughput": ("throughput", " MiB/s")}
"""Fields of the root volume: name and unit."""


def explain(old: Manifest, new: Manifest, labels: Mapping[str, str] | None = None) -> list[str]:
    """The lines of the manifest that differ; empty where none does.

    `labels` gives an image repository's short name, such as `batch-processor:latest`.
    """
    old, new, hidden = part_hidden(whole_numbers(old), whole_numbers(new))
    names = labels or {}
    lines = [
        *(f"{key.replace('_', ' ')}: {MARKED} -> {MARKED}" for key in hidden),
        *_explain_base(old.get("base", {}), new.get("base", {})),
        *_explain_images(old.get("images", []), new.get("images", []), names),
        *_explain_models(old.get("models", []), new.get("models", [])),
        *_explain_steps(old.get("extra_steps", []), new.get("extra_steps", [])),
        *_explain_agent(old.get("agent", {}), new.get("agent", {})),
        *_explain_volume(old.get("root_volume", {}), new.get("root_volume", {})),
        *_explain_update(old.get("system_update", {}), new.get("system_update", {})),
    ]
    told = {
        "base", "images", "models", "extra_steps", "agent", "root_volume", "system_update"
    }  # fmt: skip
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


def _explain_models(old: list[Manifest], new: list[Manifest]) -> Iterator[str]:
    before, after = _by_place(old), _by_place(new)
    places = before.keys() | after.keys()
    name = _shortest_names(places)
    gone, come = before.keys() - after.keys(), after.keys() - before.keys()
    moved = dict(_find_moved(before, after, gone, come))
    for place in sorted(places):
        if place in moved:
            yield f"model {_file(place)}: moved {place} -> {moved[place]}"
        elif place in gone:
            yield f"model {name(place)}: removed ({_identity(before[place])})"
        elif place in come and place not in moved.values():
            yield f"model {name(place)}: added ({_identity(after[place])})"
        elif place in before and place in after and before[place] != after[place]:
            yield f"model {name(place)}: {_explain_model(before[place], after[place])}"


def _by_place(models: list[Manifest]) -> dict[str, Manifest]:
    return {str(model["destination"]): model for model in models}


def _find_moved(
    before: Mapping[str, Manifest], after: Mapping[str, Manifest], gone: set[str], come: set[str]
) -> Iterator[tuple[str, str]]:
    """Old and new place of models that are otherwise the same."""
    left = sorted(come)
    for place in sorted(gone):
        same = {**before[place], "destination": ""}
        for other in left:
            if {**after[other], "destination": ""} == same:
                left.remove(other)
                yield place, other
                break


def _explain_model(old: Manifest, new: Manifest) -> str:
    """By what the bytes are known, and what of it differs."""
    if "sha256" in old and "sha256" in new:
        return f"sha256 {_short(old['sha256'])} -> {_short(new['sha256'])}"
    if "sha256" in old or "sha256" in new:
        return f"{_identity(old)} -> {_identity(new)}"
    fields = [f for f in ("source", "etag", "version_id") if old.get(f) != new.get(f)]
    changes = [
        f"{f.replace('_id', '')} {_short(old.get(f))} -> {_short(new.get(f))}" for f in fields
    ]
    if old.get("size_bytes") != new.get("size_bytes"):
        changes.append(f"size {_size(old.get('size_bytes'))} -> {_size(new.get('size_bytes'))}")
    return ", ".join(changes)


def _identity(model: Manifest) -> str:
    """What a model's bytes are known by: its SHA-256, or S3's ETag where there is none."""
    if "sha256" in model:
        return f"sha256 {_short(model['sha256'])}"
    size = f", {_size(model['size_bytes'])}" if "size_bytes" in model else ""
    return f"S3 etag {_short(model.get('etag'))}{size}"


def _size(number: Any) -> str:
    """Bytes as people say them: 1.85 GB."""
    if number is None:
        return "unknown"
    for power, unit in ((4, "TB"), (3, "GB"), (2, "MB"), (1, "kB")):
        if number >= 1000**power:
            return f"{number / 1000**power:.3g} {unit}"
    return f"{number} B"


def _explain_steps(old: list[Manifest], new: list[Manifest]) -> Iterator[str]:
    before, after = {str(s["name"]): s for s in old}, {str(s["name"]): s for s in new}
    for name in sorted(before.keys() | after.keys()):
        if name not in before:
            yield f"extra step {name}: added"
        elif name not in after:
            yield f"extra step {name}: removed"
        elif before[name] != after[name]:
            a, b = before[name].get("sha256"), after[name].get("sha256")
            yield f"extra step {name}: another script (sha256 {_short(a)} -> {_short(b)})"
    if list(before) != list(after) and before.keys() == after.keys():
        yield f"extra steps: order {', '.join(before)} -> {', '.join(after)}"


def _explain_agent(old: Manifest, new: Manifest) -> Iterator[str]:
    names = {
        "gpu_support": "GPU support",
        "image_pull_behavior": "image pull behavior",
        "spot_draining": "spot draining",
        "start_timeout_s": "start time-out in s",
    }
    for key, name in names.items():
        if old.get(key) != new.get(key):
            yield f"ECS agent: {name} {_short(old.get(key))} -> {_short(new.get(key))}"
    before, after = old.get("extra") or {}, new.get("extra") or {}
    for key in sorted(before.keys() | after.keys()):
        if before.get(key) != after.get(key):
            yield f"ECS agent: {key} {_short(before.get(key))} -> {_short(after.get(key))}"


def _explain_volume(old: Manifest, new: Manifest) -> Iterator[str]:
    for key in sorted(old.keys() | new.keys()):
        if old.get(key) != new.get(key):
            name, unit = UNITS.get(key, (key, ""))
            a, b = (
                f"{_short(v.get(key))}{unit}" if v.get(key) is not None else "default"
                for v in (old, new)
            )
            yield f"root volume: {name} {a} -> {b}"


def _explain_update(old: Manifest, new: Manifest) -> Iterator[str]:
    if old.get("enabled") != new.get("enabled"):
        yield f"system update: {_short(old.get('enabled'))} -> {_short(new.get('enabled'))}"
        return
    before, after = old.get("hold") or [], new.get("hold") or []
    held = _listed(after, before, "also holds"), _listed(before, after, "no longer holds")
    if any(held):
        yield f"system update: {'; '.join(filter(None, held))}"


def _listed(these: Sequence[str], without: Sequence[str], verb: str) -> str:
    names = [name for name in these if name not in without]
    return f"{verb} {', '.join(names)}" if names else ""


def _explain_value(name: str, old: Any, new: Any) -> Iterator[str]:
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for key in sorted(old.keys() | new.keys()):
            yield from _explain_value(f"{name} {key.replace('_', ' ')}", old.get(key), new.get(key))
    elif old != new:
        yield f"{name}: {_short(old)} -> {_short(new)}"


def _file(path: str) -> str:
    return path.rpartition("/")[2]


def _shortest_names(paths: set[str]) -> Callable[[str], str]:
    """File names for paths, or the whole path where two files share a name."""
    names = [_file(path) for path in paths]
    return lambda path: path if names.count(last := _file(path)) > 1 else last


def _short(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    if isinstance(value, dict):
        return canonical_json(value)
    text = str(value)
    digest = text.removeprefix("sha256:")
    is_hash = len(digest) >= 32 and all(c in "0123456789abcdef-" for c in digest)
    return f"{text[: len(text) - len(digest) + 12]}…" if is_hash else text
