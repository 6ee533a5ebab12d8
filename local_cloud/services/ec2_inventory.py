"""EC2's part of the inventory: what the account made and what still exists."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from local_cloud.cloud import Cloud
from local_cloud.inventory import Item, lists
from local_cloud.services.ec2_model import (
    AMAZON,
    Resource,
    Volume,
    images,
    instances,
    snapshots,
    volumes,
)
from local_cloud.services.ec2_template_versions import versions_of

#: States that nothing comes back from.
GOING = ("shutting-down", "terminated")


def _items(resources: Iterable[Resource], *names: str) -> list[Item]:
    return [
        {"id": one.id, "name": one.tags.get("Name") or one.view.get("Name"), "region": one.region}
        | {name: one.view.get(name) for name in names}
        | {"tags": dict(one.tags)}
        for one in resources
        if one.account != AMAZON
    ]


@lists("machine")
def list_machines(cloud: Cloud) -> list[Item]:
    alive = [one for one in list(instances(cloud).values()) if one.state not in GOING]
    items = _items(alive, "InstanceType", "ImageId")
    for item, one in zip(items, alive, strict=True):
        item["state"] = one.state
    return items


@lists("volume")
def list_volumes(cloud: Cloud) -> list[Item]:
    return _items(
        (one for one in list(volumes(cloud).values()) if not _goes(cloud, one)), "Size", "State"
    )


def _goes(cloud: Cloud, volume: Volume) -> bool:
    """Whether the volume is deleted with a machine that is on its way out."""
    for attachment in volume.view["Attachments"]:
        machine = instances(cloud).get(attachment["InstanceId"])
        if machine is not None and machine.state in GOING and attachment["DeleteOnTermination"]:
            return True
    return False


@lists("image")
def list_images(cloud: Cloud) -> list[Item]:
    return _items((one for one in list(images(cloud).values()) if not one.deregistered), "State")


@lists("snapshot")
def list_snapshots(cloud: Cloud) -> list[Item]:
    return _items(snapshots(cloud).values(), "VolumeSize", "State")


def _backends(cloud: Cloud, service: str) -> list[tuple[str, Any]]:
    """moto's backends of a service that are in use, with their regions."""
    return [
        (region, backend)
        for (name, _, region), backend in cloud.moto.dump().items()
        if name == service
    ]


@lists("template")
def list_templates(cloud: Cloud) -> list[Item]:
    with cloud.moto.lock:
        return [
            {"id": one.id, "name": one.name, "region": region,
             "latest_version": versions_of(one)[-1].number}
            for region, backend in _backends(cloud, "ec2")
            for one in backend.launch_templates.values()
        ]  # fmt: skip


@lists("group")
def list_groups(cloud: Cloud) -> list[Item]:
    with cloud.moto.lock:
        return [
            {"id": one.id, "name": one.name, "region": region}
            for region, backend in _backends(cloud, "ec2")
            for groups in backend.groups.values()
            for one in groups.values()
            if one.name != "default"
        ]


@lists("key pair")
def list_key_pairs(cloud: Cloud) -> list[Item]:
    with cloud.moto.lock:
        return [
            {"id": one.id, "name": one.key_name, "region": region}
            for region, backend in _backends(cloud, "ec2")
            for one in backend.key_pairs.values()
        ]


@lists("log group")
def list_log_groups(cloud: Cloud) -> list[Item]:
    with cloud.moto.lock:
        return [
            {"id": name, "region": region}
            for region, backend in _backends(cloud, "logs")
            for name in backend.groups
        ]


@lists("role")
def list_roles(cloud: Cloud) -> list[Item]:
    with cloud.moto.lock:
        return [
            {"id": one.arn, "name": one.name}
            for _, backend in _backends(cloud, "iam")
            for one in backend.roles.values()
            if not one.path.startswith("/aws-service-role/")
        ]


@lists("instance profile")
def list_profiles(cloud: Cloud) -> list[Item]:
    with cloud.moto.lock:
        return [
            {"id": one.arn, "name": one.name}
            for _, backend in _backends(cloud, "iam")
            for one in backend.instance_profiles.values()
        ]


@lists("policy")
def list_policies(cloud: Cloud) -> list[Item]:
    with cloud.moto.lock:
        return [
            {"id": one.arn, "name": one.name}
            for _, backend in _backends(cloud, "iam")
            for one in backend.managed_policies.values()
            if ":aws:policy/" not in one.arn
        ]
