"""What changes about an AMI that stays, in words that a person reads. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ami_provider.fingerprint import whole_numbers
from ami_provider.redaction import MARKED
from ami_provider.secrecy import part_hidden
from ami_provider.unknowns import UNKNOWN

Props = Mapping[str, Any]

NAMED = ("tags", "site", "publication", "keep", "trusted_owners", "images")
"""What is named where all of it is secret."""


def explain_in_place(olds: Props, news: Props) -> list[str]:
    """A line for each thing that an update in place does; `olds` and `news` are properties."""
    old, new, hidden = part_hidden(whole_numbers(olds), whole_numbers(news))
    return [
        *(f"{key}: {MARKED} -> {MARKED}" for key in hidden if key in NAMED),
        *_explain_tags(old.get("tags"), new.get("tags")),
        *_explain_publication(old.get("publication"), new.get("publication")),
        *_explain_keep(old.get("keep"), new.get("keep")),
        *_explain_names("trusted account", old.get("trusted_owners"), new.get("trusted_owners")),
        *_explain_images(old.get("images"), new.get("images")),
        *_explain_site(old.get("site"), new.get("site")),
        *_explain_name(old.get("lineage"), new.get("lineage")),
        *_explain_names(
            "kept secret", _name(old.get("secret_inputs")), _name(new.get("secret_inputs"))
        ),
    ]


def _explain_tags(old: Any, new: Any) -> Iterator[str]:
    if new == UNKNOWN:
        yield "tags: not known yet"
        return
    before, after = old or {}, new or {}
    for key in sorted(before.keys() | after.keys()):
        if before.get(key) != after.get(key):
            yield f"tag {key}: {_say(before.get(key))} -> {_say(after.get(key))}"


def _explain_publication(old: Any, new: Any) -> Iterator[str]:
    if new == UNKNOWN:
        yield "publication: not known yet"
        return
    before, after = old or {}, new or {}
    yield from _explain_names("shared with", before.get("share_with"), after.get("share_with"))
    if bool(before.get("share_snapshots")) != bool(after.get("share_snapshots")):
        yield f"its snapshots: {'also' if after.get('share_snapshots') else 'no longer'} shared"
    yield from _explain_copies(before.get("copies"), after.get("copies"))
    for key, name in (
        ("deprecate_after_days", "deprecated, days after its creation"),
        ("deprecate_at", "deprecated from"),
        ("deregistration_protection", "protected against deregistration"),
    ):
        if before.get(key) != after.get(key):
            yield f"{name}: {_say(before.get(key))} -> {_say(after.get(key))}"


def _explain_copies(old: Any, new: Any) -> Iterator[str]:
    if new == UNKNOWN:
        yield "copies: not known yet"
        return
    before, after = ({str(_get(copy, "region")): copy for copy in given or ()}
                     for given in (old, new))  # fmt: skip
    for region in sorted(before.keys() | after.keys()):
        where = "a region that is not known yet" if region == UNKNOWN else region
        if region not in before:
            yield f"copy in {where}: made"
        elif region not in after:
            yield f"copy in {where}: deleted, with its snapshots"
        elif before[region] != after[region]:
            keys = [_say(_get(given[region], "encryption_key")) for given in (before, after)]
            yield f"copy in {where}: made anew, with the key {' -> '.join(keys)}"


def _explain_keep(old: Any, new: Any) -> Iterator[str]:
    before, after = old or 0, new or 0
    if before != after:
        fewer = after != UNKNOWN and before > after
        yield f"earlier AMIs that stay: {_say(before)} -> {_say(after)}" + (
            "; those beyond are deleted, unless they are in use" if fewer else ""
        )


def _explain_images(old: Any, new: Any) -> Iterator[str]:
    """The same digest under another tag."""
    if new == UNKNOWN or not old or not new:
        return
    before = {_get(image, "uri"): _get(image, "tag") for image in old}
    for image in new:
        tag = before.get(_get(image, "uri"))
        if tag is not None and tag != _get(image, "tag"):
            name = str(_get(image, "repository")).partition("/")[2]
            yield f"image {name}: tag {_say(tag)} -> {_say(_get(image, 'tag'))}, the same image"


def _explain_site(old: Any, new: Any) -> Iterator[str]:
    """Nothing of it is in the AMI that is there: it is for the next bake."""
    if new == UNKNOWN:
        yield "site: not known yet"
        return
    before, after = old or {}, new or {}
    for key in sorted(before.keys() | after.keys()):
        if before.get(key) != after.get(key):
            values = f"{_say(before.get(key))} -> {_say(after.get(key))}"
            if key == "smoke_command":  # It may hold a secret, and the engine hides those.
                values = "another command" if after.get(key) else "no command"
            yield f"site.{key}: {values}, from the next bake on"


def _explain_name(old: Any, new: Any) -> Iterator[str]:
    """Owners are known by their URN, which an alias, a stack or a parent changes."""
    before, after = _get(old, "urn"), _get(new, "urn")
    if before and after and before != after:
        yield f"its owner is renamed: {before} -> {_say(after)}"


def _explain_names(what: str, old: Any, new: Any) -> Iterator[str]:
    if new == UNKNOWN:
        yield f"{what}: not known yet"
        return
    before, after = list(old or ()), list(new or ())
    come = [_say(name) for name in after if name not in before]
    gone = [_say(name) for name in before if name not in after]
    if come:
        yield f"{what}: {', '.join(come)}"
    if gone:
        yield f"no longer {what}: {', '.join(gone)}"
    if old is None and new == []:
        yield f"{what}: nobody"


def _name(paths: Any) -> list[str]:
    return [".".join(map(str, path)) for path in paths or ()]


def _get(value: Any, key: str) -> Any:
    return value.get(key) if isinstance(value, Mapping) else value


def _say(value: Any) -> str:
    if value is None or value == "":
        return "none"
    if value == UNKNOWN:
        return "not known yet"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_say(item)}" for key, item in value.items()) or "none"
    if isinstance(value, list):
        return ", ".join(map(_say, value)) or "none"
    return str(value)
