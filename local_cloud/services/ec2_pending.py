"""Snapshots and images that are pending until all is copied and their time has come."""

from __future__ import annotations

from local_cloud.cloud import Cloud
from local_cloud.lifecycle import at_start
from local_cloud.machines.contract import GIB
from local_cloud.services.ec2_disks import drop_snapshot
from local_cloud.services.ec2_model import Image, Snapshot, images, now, snapshot_ids, snapshots


def finish_later(cloud: Cloud, snapshot: Snapshot, figure: str) -> None:
    """Complete a snapshot whose bytes are copied: now, or when the latency profile says."""
    set_due(cloud, [snapshot], figure, begun=cloud.latency.clock.now())
    if cloud.latency.is_past(snapshot.due):
        _finish_snapshot(cloud, snapshot)
    else:
        _in_background(cloud, [snapshot])


def _in_background(cloud: Cloud, copied: list[Snapshot], image: Image | None = None) -> None:
    def work() -> None:
        finish(cloud, copied, image)

    cloud.background(f"pending {image.id if image else copied[0].id}", work)


def set_due(cloud: Cloud, copied: list[Snapshot], figure: str, *, begun: float) -> float:
    """When snapshots that belong together are completed, by the figure and what they hold."""
    held = sum(cloud.disks.usage(one.id).allocated_bytes for one in copied) / GIB
    due = begun + cloud.latency.draw(figure) + held * cloud.latency.draw("snapshot_per_gib")
    for one in copied:
        one.begun, one.due = begun, due
    return due


def progress(cloud: Cloud, snapshot: Snapshot) -> str:
    """How far a pending snapshot is; 100% is for completed ones."""
    whole = snapshot.due - snapshot.begun
    if whole <= 0:
        return "0%"
    share = (cloud.latency.clock.now() - snapshot.begun) / whole
    return f"{min(99, max(0, int(100 * share)))}%"


def _finish_snapshot(cloud: Cloud, snapshot: Snapshot) -> None:
    """Mark the snapshot as completed, with the bytes that it really holds."""
    if snapshot.id not in snapshots(cloud):  # deleted, maybe with its image, meanwhile
        drop_snapshot(cloud, snapshot.id)
        return
    snapshot.view.update(
        State="completed", Progress="100%", CompletionTime=now(),
        FullSnapshotSizeInBytes=cloud.disks.usage(snapshot.id).allocated_bytes,
    )  # fmt: skip


def finish(cloud: Cloud, copied: list[Snapshot], image: Image | None = None) -> None:
    """Complete snapshots when they are due, and then the image they are of; blocks until then.

    Nothing happens when the cloud stops before: the next start goes on.
    """
    for snapshot in copied:
        if cloud.pause(snapshot.due):
            return
        _finish_snapshot(cloud, snapshot)
    with cloud.store.lock:
        if image is not None and image.view["State"] == "pending":
            image.view["State"] = "available"


def fail_image(cloud: Cloud, image: Image, copied: list[Snapshot], why: str) -> None:
    """The image and its snapshots have failed, as DescribeImages and DescribeSnapshots show."""
    cloud.say(f"image {image.id} failed: {why}")
    with cloud.store.lock:
        image.view["State"] = "failed"
        image.view["StateReason"] = {"Code": "Server.InternalError", "Message": why}
        for snapshot in copied:
            snapshot.view["State"] = "error"
            snapshot.view["StateMessage"] = why


@at_start
def go_on(cloud: Cloud) -> None:
    """What was pending when an earlier cloud ended is finished, or failed if never copied."""
    pending = {
        one.id: one for one in list(snapshots(cloud).values()) if one.view["State"] == "pending"
    }
    for image in list(images(cloud).values()):
        if image.view["State"] == "pending" and not image.deregistered:
            own = [pending.pop(one) for one in snapshot_ids(image) if one in pending]
            if all(_is_copied(cloud, one) for one in own):
                _in_background(cloud, own, image)
            else:
                fail_image(cloud, image, own, "the local cloud ended before its disks were copied")
    for snapshot in pending.values():
        if _is_copied(cloud, snapshot):
            _in_background(cloud, [snapshot])
        else:
            snapshot.view["State"] = "error"


def _is_copied(cloud: Cloud, snapshot: Snapshot) -> bool:
    try:
        cloud.disks.usage(snapshot.id)
    except KeyError:
        return False
    return True
