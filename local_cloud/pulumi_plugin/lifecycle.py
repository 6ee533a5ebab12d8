"""One resource's life on AWS: create, read, update, delete, and what a preview can say of each."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from local_cloud.pulumi_plugin.aws import Account, in_words
from local_cloud.pulumi_plugin.compare import Change, find_changes
from local_cloud.pulumi_plugin.fields import canonical
from local_cloud.pulumi_plugin.inputs import DEFAULTS
from local_cloud.pulumi_plugin.resource_type import ResourceType
from local_cloud.pulumi_plugin.values import UNKNOWN, Props, is_empty


@dataclass(frozen=True)
class Made:
    """A resource as it is after an operation. `fault`: why it is there but not as it should be."""

    resource_id: str
    state: Props
    fault: str | None = None


def changes(described: ResourceType, olds: Props, old_inputs: Props, news: Props) -> list[Change]:
    """What an update would change, with the type's own rules of what forces a replacement."""
    if described.compares_state:
        old_inputs = {name: olds.get(name, value) for name, value in old_inputs.items()}
    found = list(find_changes(described.all_inputs(), old_inputs, news, olds))
    if described.forced is not None:
        found = described.forced(olds, old_inputs, news, found)
    return found


def planned(described: ResourceType, news: Props) -> Props:
    """What a preview shows of a resource to be created: its inputs; what AWS decides is unknown."""
    state = without_defaults(news)
    for name, field in described.all_inputs().items():
        if field.computed and is_empty(state.get(name)):
            state[name] = UNKNOWN
    return state | dict.fromkeys(described.outputs, UNKNOWN) | _tags_all(described, news)


def planned_update(described: ResourceType, olds: Props, old_inputs: Props, news: Props) -> Props:
    """What a preview shows of an update: what AWS is going to change with it is unknown."""
    changed = roots(changes(described, olds, old_inputs, news))
    taken_out = {name for name in changed if name not in news}
    state = {key: value for key, value in olds.items() if key not in taken_out}
    state |= without_defaults(news) | _tags_all(described, news)
    if described.unsettled is not None:
        state |= dict.fromkeys(described.unsettled(news, changed), UNKNOWN)
    return state


def create(described: ResourceType, account: Account, news: Props) -> Made:
    """Make it and wait for it; once it exists, a failure is told as a fault and not raised."""
    resource_id = described.create(account, news)
    return _settled(described, account, resource_id, news, {}, described.finish)


def update(
    described: ResourceType,
    account: Account,
    resource_id: str,
    olds: Props,
    old_inputs: Props,
    news: Props,
) -> Made:
    """Make the changes and wait for them. Raises when AWS refuses them."""
    if described.update is None:
        raise RuntimeError(f"{described.pulumi_type} cannot be updated in place")
    changed = frozenset(roots(changes(described, olds, old_inputs, news)))
    known = described.update(account, resource_id, olds, news, changed)
    settles = bool(changed) or described.settles_unchanged
    return _settled(described, account, resource_id, news, {**olds, **known}, settles=settles)


def _settled(
    described: ResourceType,
    account: Account,
    resource_id: str,
    news: Props,
    olds: Mapping[str, Any],
    finish: Callable[[Account, str, Props], None] | None = None,
    *,
    settles: bool = True,
) -> Made:
    """It exists now: whatever goes wrong from here on is its fault, and it stays in the state."""
    fault = None
    try:
        for step in (finish, described.settle if settles else None):
            if step is not None:
                step(account, resource_id, news)
    except Exception as error:
        fault = in_words(error)
    given = without_defaults(news)
    try:
        seen = described.read(account, resource_id, {**olds, **given})
    except Exception as error:
        seen, fault = dict(olds), fault or f"reading it back: {in_words(error)}"
    if seen is None:
        seen, fault = dict(olds), fault or "it was gone when it was read back"
    return Made(resource_id, _merged(described, given, seen), fault)


def _merged(described: ResourceType, given: Mapping[str, Any], seen: Mapping[str, Any]) -> Props:
    """AWS's view, with each given attribute as it was written where both say the same."""
    fields = described.all_inputs()
    state = {key: value for key, value in seen.items() if key not in given}
    state |= {key: value for key, value in given.items() if key in fields}
    return state | _tags_all(described, state)


def read(
    described: ResourceType, account: Account, resource_id: str, state: Props, inputs: Props
) -> tuple[Props, Props] | None:
    """The resource's state and inputs as they are in AWS now; None when it is gone.

    An input that still means the same keeps its old spelling, so that a refresh shows only drift.
    Without inputs it is an import: all that was found and can be given becomes an input.
    """
    seen = described.read(account, resource_id, state)
    if seen is None:
        return None
    fields = described.all_inputs()
    new_inputs: Props = {DEFAULTS: inputs.get(DEFAULTS, [])}
    for name, field in fields.items():
        if name in inputs:
            now = _as_written(field, inputs[name], seen.get(name)) if name in seen else inputs[name]
        elif (field.computed and inputs) or _is_default(field, seen.get(name)):
            continue
        else:
            now = seen[name]
        if now is not None:
            new_inputs[name] = now
    merged = {**seen, **{k: v for k, v in new_inputs.items() if k != DEFAULTS}}
    return merged | _tags_all(described, merged), new_inputs


def _is_default(field: Any, value: Any) -> bool:
    return canonical(field, value) in (None, canonical(field, field.default), False)


def _as_written(field: Any, old: Any, seen: Any) -> Any:
    if canonical(field, old) == canonical(field, seen):
        return old
    if field.kind == "block" and isinstance(old, Mapping) and isinstance(seen, Mapping):
        return {
            name: _as_written(field.fields[name], value, seen.get(name))
            for name, value in old.items()
            if name in field.fields
        }
    if field.kind == "blocks" and isinstance(old, list) and isinstance(seen, list):
        if len(old) != len(seen):
            return seen
        one = type(field)(kind="block", fields=field.fields)
        return [_as_written(one, before, now) for before, now in zip(old, seen, strict=True)]
    return seen


def _tags_all(described: ResourceType, props: Mapping[str, Any]) -> Props:
    return {"tagsAll": props.get("tags") or {}} if "tagsAll" in described.outputs else {}


def without_defaults(props: Mapping[str, Any]) -> Props:
    """The inputs without the list of those that were filled in."""
    return {key: value for key, value in props.items() if key != DEFAULTS}


def roots(found: Iterable[Change]) -> list[str]:
    """The changed attributes of the resource, each once, in order."""
    return list(dict.fromkeys(change.root for change in found))
