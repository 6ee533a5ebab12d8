"""Fast snapshot restore: switched on and off by snapshot and zone; it changes no speed here."""

from __future__ import annotations

from typing import Any

from local_cloud.call import Call, Params, handles
from local_cloud.inventory import Item, lists
from local_cloud.services.ec2_filters import filtered, page
from local_cloud.services.ec2_model import get_snapshot, now, refuse_dry_run

FIELDS = {
    "availability-zone": "AvailabilityZone", "owner-id": "OwnerId", "snapshot-id": "SnapshotId",
    "state": "State",
}  # fmt: skip


def _table(cloud: Any) -> dict[tuple[str, str], Params]:
    """By snapshot and zone."""
    table: dict[tuple[str, str], Params] = cloud.store.table("fast snapshot restores")
    return table


@handles("ec2", "EnableFastSnapshotRestores")
def enable(call: Call) -> Params:
    """At once `enabled`; EC2 takes an hour for each TiB (EBS user guide)."""
    refuse_dry_run(call)
    done = []
    for snapshot_id in call.params["SourceSnapshotIds"]:
        snapshot = get_snapshot(call, snapshot_id)
        for zone in call.params.get("AvailabilityZones") or ():
            moment = now()
            view = {
                "SnapshotId": snapshot.id, "AvailabilityZone": zone, "State": "enabled",
                "OwnerId": snapshot.account, "StateTransitionReason": "Client.UserInitiated",
                "EnablingTime": moment, "OptimizingTime": moment, "EnabledTime": moment,
            }  # fmt: skip
            with call.cloud.store.lock:
                _table(call.cloud)[snapshot.id, zone] = view
            done.append(view)
    return {"Successful": done, "Unsuccessful": []}


@handles("ec2", "DisableFastSnapshotRestores")
def disable(call: Call) -> Params:
    refuse_dry_run(call)
    done = []
    for snapshot_id in call.params["SourceSnapshotIds"]:
        for zone in call.params.get("AvailabilityZones") or ():
            with call.cloud.store.lock:
                view = _table(call.cloud).pop((snapshot_id, zone), None)
            if view is not None:
                done.append(view | {"State": "disabled", "DisabledTime": now()})
    return {"Successful": done, "Unsuccessful": []}


@handles("ec2", "DescribeFastSnapshotRestores")
def describe(call: Call) -> Params:
    mine = [one for one in list(_table(call.cloud).values()) if one["OwnerId"] == call.account]
    found = filtered(call, mine, FIELDS, "DescribeFastSnapshotRestores")
    return page(call, found, "FastSnapshotRestores")


@lists("fast snapshot restore")
def list_restores(cloud: Any) -> list[Item]:
    return [
        {"id": f"{one['SnapshotId']},{one['AvailabilityZone']}", "state": one["State"]}
        for one in list(_table(cloud).values())
    ]
