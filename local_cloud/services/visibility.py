"""New things that are not seen for the first looks at them: AWS's eventual consistency, on order.

A look is a call that names or lists the thing. Only what is new while the order stands is hidden.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

from local_cloud.call import Call, Params
from local_cloud.cloud import Cloud
from local_cloud.errors import AwsError
from local_cloud.faults import Unseen, about_calls

#: IAM's calls that need to find the role they name.
ROLE_CALLS = {
    "GetRole", "UpdateRole", "DeleteRole", "AttachRolePolicy", "DetachRolePolicy", "PutRolePolicy",
    "GetRolePolicy", "DeleteRolePolicy", "ListRolePolicies", "ListAttachedRolePolicies",
    "AddRoleToInstanceProfile", "UpdateAssumeRolePolicy", "TagRole", "ListRoleTags",
    "ListInstanceProfilesForRole",
}  # fmt: skip


@dataclass
class _Hidden:
    """`before` is what is shown in place of a thing's new tags; `looked` the last call to look."""

    order: Unseen
    looks: int
    until: float
    before: dict[str, str] = field(default_factory=dict)
    looked: str = ""


def _hidden(cloud: Cloud) -> dict[tuple[str, str], _Hidden]:
    return cloud.store.table("not seen yet")


def hide_new(
    call: Call, kind: str, name: str, tags: dict[str, str], *, before: dict[str, str] | None = None
) -> None:
    """Hide a thing that was just made (or, for `tags`, changed), if that is on order."""
    facts = {"region": call.region, **{f"tag:{key}": value for key, value in tags.items()}}
    order = call.cloud.faults.unseen(kind, facts)
    if order is not None:
        _hidden(call.cloud)[kind, name] = _Hidden(
            order=order,
            looks=order.looks,
            until=time.time() + order.seconds,
            before=dict(before or {}),
        )


def hide_resource(call: Call, kind: str, name: str, tags: dict[str, str]) -> None:
    """Hide a new resource of EC2's, its tags apart from itself."""
    hide_new(call, kind, name, tags)
    if tags:
        hide_new(call, "tags", name, tags)


def is_seen(call: Call, kind: str, name: str) -> bool:
    """Whether this call finds the thing. A call counts as one look, however often it asks."""
    table = _hidden(call.cloud)
    hidden = table.get((kind, name))
    if hidden is None:  # also while the store is being saved
        return True
    with call.cloud.store.lock:
        if hidden.looked == call.request_id:
            return False
        over = hidden.looks <= 0 and time.time() >= hidden.until
        if over or not call.cloud.faults.stands(hidden.order):
            table.pop((kind, name), None)
            return True
        hidden.looks -= 1
        hidden.looked = call.request_id
        return False


def seen_tags(call: Call, name: str, tags: dict[str, str]) -> dict[str, str]:
    """The tags that this call finds on a resource: those of before for its first looks."""
    hidden = _hidden(call.cloud).get(("tags", name))
    return tags if hidden is None or is_seen(call, "tags", name) else hidden.before


@about_calls
def hide_in_iam(call: Call, result: Params | None) -> None:
    """Roles are not there for IAM's own calls, instance profiles not yet known to EC2."""
    if call.service != "iam":
        return
    named: Any = call.params.get("RoleName")
    if result is None:
        if call.action in ROLE_CALLS and named and not is_seen(call, "role", _key(call, named)):
            raise AwsError(
                "NoSuchEntity", f"The role with name {named} cannot be found.", status=404
            )
    elif call.action == "CreateRole":
        hide_new(call, "role", _key(call, named), {})
    elif call.action == "CreateInstanceProfile":
        hide_new(call, "profile", _key(call, call.params["InstanceProfileName"]), {})


def sees_profile(call: Call, name: str) -> bool:
    """Whether EC2 knows an instance profile already."""
    return is_seen(call, "profile", _key(call, name))


def _key(call: Call, name: str) -> str:
    """IAM's names are the account's."""
    return f"{call.account}/{name}"
