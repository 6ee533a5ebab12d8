"""`aws:ebs/fastSnapshotRestore:FastSnapshotRestore`."""

from __future__ import annotations

from local_cloud.pulumi_plugin.aws import Account
from local_cloud.pulumi_plugin.fields import text
from local_cloud.pulumi_plugin.resource_type import ResourceType
from local_cloud.pulumi_plugin.values import Props


def _ask(zone: str, snapshot: str) -> dict[str, list[str]]:
    return {"AvailabilityZones": [zone], "SourceSnapshotIds": [snapshot]}


def _create(account: Account, news: Props) -> str:
    zone, snapshot = str(news["availabilityZone"]), str(news["snapshotId"])
    answer = account.client("ec2").enable_fast_snapshot_restores(**_ask(zone, snapshot))
    if answer.get("Unsuccessful"):
        raise RuntimeError(f"fast snapshot restore of {snapshot}: {answer['Unsuccessful']}")
    return f"{zone},{snapshot}"


def _read(account: Account, resource_id: str, state: Props) -> Props | None:
    zone, _, snapshot = resource_id.partition(",")
    filters = [
        {"Name": "availability-zone", "Values": [zone]},
        {"Name": "snapshot-id", "Values": [snapshot]},
    ]
    found = account.client("ec2").describe_fast_snapshot_restores(Filters=filters)
    for one in found["FastSnapshotRestores"]:
        if one["State"] not in ("disabling", "disabled"):
            return {
                "availabilityZone": zone, "snapshotId": snapshot, "state": one["State"],
                "region": account.region,
            }  # fmt: skip
    return None


def _settle(account: Account, resource_id: str, news: Props) -> None:
    """The real provider waits until it is `enabled`."""
    account.wait_until(
        lambda: (_read(account, resource_id, {}) or {}).get("state") == "enabled" or None,
        f"fast snapshot restore {resource_id} to be enabled",
    )


def _delete(account: Account, resource_id: str, state: Props) -> None:
    zone, _, snapshot = resource_id.partition(",")
    account.client("ec2").disable_fast_snapshot_restores(**_ask(zone, snapshot))


FAST_SNAPSHOT_RESTORE = ResourceType(
    pulumi_type="aws:ebs/fastSnapshotRestore:FastSnapshotRestore",
    inputs={
        "availabilityZone": text(required=True, replaces=True),
        "snapshotId": text(required=True, replaces=True),
    },
    outputs=("state",),
    create=_create,
    settle=_settle,
    read=_read,
    delete=_delete,
)
