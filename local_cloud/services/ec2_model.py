"""EC2's machines, volumes, snapshots and images as this cloud keeps and finds them."""

from __future__ import annotations

import copy
import re
import secrets
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, TypeVar

from local_cloud.call import Call, Params
from local_cloud.cloud import Cloud
from local_cloud.errors import AwsError
from local_cloud.services.visibility import hide_resource, is_seen, seen_tags

#: AWS's own account for the ECS-optimized images.
AMAZON = "591542846629"
STATE_CODES = {
    "pending": 0, "running": 16, "shutting-down": 32, "terminated": 48, "stopping": 64,
    "stopped": 80,
}  # fmt: skip
#: How long an action's answer may wait for its effect, so that a waiter's first look sees it.
SETTLE_S = 1.0


@dataclass
class Resource:
    """One thing of EC2's. `view` is what describing it shows, without its tags."""

    id: str
    account: str
    region: str
    view: dict[str, Any]
    tags: dict[str, str] = field(default_factory=dict)

    def shown(self) -> dict[str, Any]:
        """A copy for an answer."""
        return copy.deepcopy(self.view) | {"Tags": tag_list(self.tags)}

    def looked_at(self, call: Call) -> dict[str, Any]:
        """What filters look at, with the tags that the call finds: `filtered` copies what passes,
        so that a search costs little for each thing that it passes over."""
        return self.view | {"Tags": tag_list(seen_tags(call, self.id, self.tags))}


@dataclass
class Instance(Resource):
    """A machine. `user_data` is base64 as given; `launch` is what its ClientToken stands for."""

    reservation_id: str = ""
    user_data: str | None = None
    #: Of the key pair that was asked for at launch, which may be gone by now.
    public_key: str = ""
    shutdown_behavior: str = "stop"
    no_terminate: bool = False
    no_stop: bool = False
    token: str | None = None
    launch: Params = field(default_factory=dict)
    root_volume_id: str = ""
    spot: str | None = None
    interface_id: str = ""
    gpus: int = 0
    profile_association: str | None = None
    #: Counts changes of state: what was begun in one state is not done in a later one.
    turn: int = 0
    #: When, by the cloud's clock, its SSM agent can be reached and its status checks have passed.
    agent_after: float = 0.0
    checked_after: float = 0.0

    @property
    def state(self) -> str:
        return str(self.view["State"]["Name"])

    def set_state(self, name: str) -> None:
        self.view["State"] = {"Name": name, "Code": STATE_CODES[name]}
        self.turn += 1


@dataclass
class Volume(Resource):
    """A disk that can be attached; its bytes are `cloud.disks`'s under the same ID."""


@dataclass
class Snapshot(Resource):
    """A disk's state at one time. `family` is set for one that belongs to a base image."""

    family: str | None = None
    permissions: list[dict[str, str]] = field(default_factory=list)
    #: When it was begun and will be completed, by the cloud's clock.
    begun: float = 0.0
    due: float = 0.0


@dataclass
class Image(Resource):
    """An AMI. `deregistered` ones are remembered, as AWS does, to tell gone from never there."""

    permissions: list[dict[str, str]] = field(default_factory=list)
    deregistered: bool = False
    family: str | None = None
    token: str | None = None
    protection: str = "disabled"
    due: float = 0.0


R = TypeVar("R", bound=Resource)

_instance_locks: dict[str, threading.RLock] = {}
_instance_locks_lock = threading.Lock()


def instance_lock(instance_id: str) -> threading.RLock:
    """Held by the one job that boots, stops or images this machine right now."""
    with _instance_locks_lock:
        return _instance_locks.setdefault(instance_id, threading.RLock())


def instances(cloud: Cloud) -> dict[str, Instance]:
    return cloud.store.table("ec2 instances")


def volumes(cloud: Cloud) -> dict[str, Volume]:
    return cloud.store.table("ec2 volumes")


def snapshots(cloud: Cloud) -> dict[str, Snapshot]:
    return cloud.store.table("ec2 snapshots")


def images(cloud: Cloud) -> dict[str, Image]:
    return cloud.store.table("ec2 images")


def snapshot_ids(image: Image) -> list[str]:
    """The snapshots behind an image; an empty disk of it has none."""
    found = (mapping["Ebs"].get("SnapshotId") for mapping in image.view["BlockDeviceMappings"])
    return [one for one in found if one]


def check_image_id(image_id: str) -> None:
    """Raises as EC2 does for what cannot be an image's ID."""
    if not re.fullmatch(r"ami-[0-9a-f]{8}(?:[0-9a-f]{9})?", image_id):
        raise AwsError("InvalidAMIID.Malformed", f'Invalid id: "{image_id}" (expecting "ami-...")')


def spot_requests(cloud: Cloud) -> dict[str, Resource]:
    return cloud.store.table("ec2 spot requests")


def new_id(prefix: str) -> str:
    """An ID as EC2 makes them, such as `i-0123456789abcdef0`."""
    return f"{prefix}-0{secrets.token_hex(8)}"


def now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)


def timestamp_text(moment: datetime) -> str:
    """As EC2 writes times into strings."""
    return moment.strftime("%Y-%m-%dT%H:%M:%S.000Z")


def tag_list(tags: dict[str, str]) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in sorted(tags.items())]


def tags_for(specifications: Iterable[Params], kind: str) -> dict[str, str]:
    """The tags that TagSpecifications give to one type of resource."""
    found: dict[str, str] = {}
    for one in specifications:
        if one.get("ResourceType") == kind:
            found.update({tag["Key"]: tag.get("Value", "") for tag in one.get("Tags", [])})
    check_tags(found)
    return found


def check_tags(tags: dict[str, str]) -> None:
    """EC2's limits on tags: 128 and 256 characters, 50 of them, nobody's own `aws:`."""
    for key, value in tags.items():
        if key.lower().startswith("aws:"):
            raise AwsError(
                "InvalidParameterValue",
                "Tag keys starting with 'aws:' are reserved for internal use",
            )
        if not key or len(key) > 128:
            raise AwsError(
                "InvalidParameterValue",
                f"Tag key exceeds the maximum length of 128 characters or is empty: {key[:140]!r}",
            )
        if len(value) > 256:
            raise AwsError(
                "InvalidParameterValue",
                f"Tag value exceeds the maximum length of 256 characters (key {key!r})",
            )
    if len(tags) > 50:
        raise AwsError("TagLimitExceeded", "The maximum number of Tags for a resource is 50")


def refuse_dry_run(call: Call) -> None:
    """End a dry run that would have worked, as EC2 does."""
    if call.params.get("DryRun"):
        raise AwsError(
            "DryRunOperation",
            "Request would have succeeded, but DryRun flag is set.",
            status=412,
        )


_ID_FORMS = {
    "i": ("InvalidInstanceID", "instance ID", "instance IDs"),
    "vol": ("InvalidVolume", "volume", "volumes"),
    "snap": ("InvalidSnapshot", "snapshot", "snapshots"),
}


def get_all(call: Call, table: Mapping[str, R], ids: Iterable[str], prefix: str) -> list[R]:
    """The caller's resources with these IDs, in order; the error names those that are not there."""
    code, one_name, many_names = _ID_FORMS[prefix]
    wanted = list(ids)
    for one in wanted:
        if not re.fullmatch(rf"{prefix}-[0-9a-f]{{8}}(?:[0-9a-f]{{9}})?", one):
            malformed = {"i": "InvalidInstanceID.Malformed", "vol": "InvalidParameterValue"}
            raise AwsError(
                malformed.get(prefix, "InvalidParameterValue"),
                f'Invalid id: "{one}" (expecting "{prefix}-...")',
            )
    missing = [one for one in wanted if not is_found(call, table.get(one))]
    if missing:
        many = len(missing) > 1
        raise AwsError(
            f"{code}.NotFound",
            f"The {many_names if many else one_name} '{', '.join(missing)}'"
            f" {'do' if many else 'does'} not exist",
        )
    return [table[one] for one in wanted]


def is_mine(call: Call, resource: Resource | None) -> bool:
    """Whether the caller's account has this resource in the region it called."""
    return (
        resource is not None and resource.account == call.account and resource.region == call.region
    )


def is_found(call: Call, resource: Resource | None) -> bool:
    """Whether the caller has this resource, and finds it already."""
    return resource is not None and is_mine(call, resource) and sees(call, resource)


def sees(call: Call, resource: Resource) -> bool:
    """Whether the call finds a resource that is there: a new one may not be seen yet."""
    return is_seen(call, type(resource).__name__.lower(), resource.id)


def hide_if_ordered(call: Call, *made: Resource) -> None:
    """New resources, and their tags, may not be seen at first (a fault on order)."""
    for one in made:
        hide_resource(call, type(one).__name__.lower(), one.id, one.tags)


def mine(call: Call, table: Mapping[str, R]) -> list[R]:
    """Everything of one kind that the caller has and finds in this region, oldest first."""
    return [resource for resource in list(table.values()) if is_found(call, resource)]


def get_instances(call: Call, ids: Iterable[str]) -> list[Instance]:
    return get_all(call, instances(call.cloud), ids, "i")


def get_volume(call: Call, volume_id: str) -> Volume:
    return get_all(call, volumes(call.cloud), [volume_id], "vol")[0]


def get_snapshot(call: Call, snapshot_id: str) -> Snapshot:
    return get_all(call, snapshots(call.cloud), [snapshot_id], "snap")[0]
