"""What a resource type of the stand-in is made of; the tables in `types/` are written with it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from local_cloud.pulumi_plugin.aws import Account
from local_cloud.pulumi_plugin.compare import Change
from local_cloud.pulumi_plugin.fields import Field, mapping, text
from local_cloud.pulumi_plugin.values import Props

#: Attributes that nearly every type has.
TAGS = mapping()
REGION = text(computed=True, replaces=True, api="")


class InitFailedError(Exception):
    """The resource exists, but what should follow its creation or update did not come about."""


@dataclass(frozen=True, kw_only=True)
class AutoName:
    """A name made from the resource's own when none is given, as the real plugin makes it.

    `attribute` gets `<resource name><separator><7 hex digits>`; with `random=False` the resource's
    name alone. `prefix_attribute`, when the user set it, is used instead (with AWS provider's
    own suffix).
    """

    attribute: str = "name"
    prefix_attribute: str | None = "namePrefix"
    max_length: int = 255
    lower: bool = False
    random: bool = True


@dataclass(frozen=True, kw_only=True)
class ResourceType:
    """A resource type: its attributes as a table, and how AWS is asked to make it so.

    `create` gives the ID as soon as the thing exists; `finish` then does what a create still needs;
    `settle`, after a create and after an update, waits. Whatever those two raise, the resource is
    kept in the state; an update with nothing changed is the engine's retry of them, unless
    `settles_unchanged` says that the real provider then does nothing at all.
    `compares_state`: what changed is told from the state, as the real provider does: after an
    update that failed, the state has what was asked for, and the engine the inputs from before.
    `read` gives what AWS knows, or None when it is gone. `update` gets the names of the changed
    attributes and gives the outputs that it knows already. `forced` adds replacement rules that
    look at more than one attribute; `unsettled` names the outputs that an update will change.
    """

    pulumi_type: str
    inputs: Mapping[str, Field]
    outputs: tuple[str, ...]
    create: Callable[[Account, Props], str]
    read: Callable[[Account, str, Props], Props | None]
    delete: Callable[[Account, str, Props], None]
    update: Callable[[Account, str, Props, Props, frozenset[str]], Props] | None = None
    finish: Callable[[Account, str, Props], None] | None = None
    settle: Callable[[Account, str, Props], None] | None = None
    settles_unchanged: bool = True
    compares_state: bool = False
    forced: Callable[[Props, Props, Props, list[Change]], list[Change]] | None = None
    unsettled: Callable[[Props, Iterable[str]], frozenset[str]] | None = None
    auto_name: AutoName | None = None
    regional: bool = True
    conflicts: tuple[tuple[str, str], ...] = ()

    def all_inputs(self) -> dict[str, Field]:
        """The inputs with those that every regional type has."""
        return {**self.inputs, **({"region": REGION} if self.regional else {})}


@dataclass(frozen=True, kw_only=True)
class Function:
    """A data source: its arguments and what it answers with."""

    pulumi_type: str
    arguments: Mapping[str, Field]
    invoke: Callable[[Account, Props], Props]
    notes: tuple[str, ...] = field(default=())
