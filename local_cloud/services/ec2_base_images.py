"""The images that AWS provides, and the public parameters that name the newest of them."""

from __future__ import annotations

import hashlib
import json
import threading
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from local_cloud.cloud import Cloud
from local_cloud.services.ec2_model import (
    AMAZON,
    Image,
    Snapshot,
    images,
    snapshots,
    timestamp_text,
)

_making_base_disk = threading.Lock()

ROOT_DEVICE = "/dev/xvda"
ROOT_GIB = 30
CREATED = datetime(2026, 11, 2, 18, 30, tzinfo=UTC)


@dataclass(frozen=True, kw_only=True)
class BaseImage:
    """One image of AWS's: the disk's family, its name, and the parameter folder that names it."""

    family: str
    name: str
    description: str
    parameters: str
    os: str
    source: str


# Names follow the pattern of AWS's own; the version is this cloud's.
BASE_IMAGES = (
    BaseImage(
        family="al2023-gpu",
        name="al2023-ami-ecs-gpu-hvm-2023.0.20261102-kernel-6.1-x86_64-ebs",
        description="Amazon Linux AMI 2023.0.20261102 x86_64 ECS HVM EBS with GPU support",
        parameters="/aws/service/ecs/optimized-ami/amazon-linux-2023/gpu",
        os="Amazon Linux 2023 (GPU Optimized)",
        source="al2023-ami-minimal-2023.12.20261102.0-kernel-6.1-x86_64",
    ),
    BaseImage(
        family="al2-gpu",
        name="amzn2-ami-ecs-gpu-hvm-2.0.20261102-x86_64-ebs",
        description="Amazon Linux AMI 2.0.20261102 x86_64 ECS HVM GP2 with GPU support",
        parameters="/aws/service/ecs/optimized-ami/amazon-linux-2/gpu",
        os="Amazon Linux 2 (GPU Optimized)",
        source="amzn2-ami-minimal-hvm-2.0.20261102.0-x86_64-ebs",
    ),
    BaseImage(
        family="al2023",
        name="al2023-ami-ecs-hvm-2023.0.20261102-kernel-6.1-x86_64",
        description="Amazon Linux AMI 2023.0.20261102 x86_64 ECS HVM EBS",
        parameters="/aws/service/ecs/optimized-ami/amazon-linux-2023",
        os="Amazon Linux 2023",
        source="al2023-ami-minimal-2023.12.20261102.0-kernel-6.1-x86_64",
    ),
)


def _derived_id(prefix: str, region: str, family: str) -> str:
    """The same in every run, and different in every region, as AWS's are."""
    return f"{prefix}-0{hashlib.sha256(f'{region} {family}'.encode()).hexdigest()[:16]}"


def ensure_base_images(cloud: Cloud, region: str) -> None:
    """Register AWS's images in a region the first time that somebody looks there."""
    known = cloud.store.table("ec2 regions with base images")
    with cloud.store.lock:
        if region in known:
            return
        for base in BASE_IMAGES:
            _register(cloud, region, base)
        known[region] = True


def _register(cloud: Cloud, region: str, base: BaseImage) -> None:
    image_id = _derived_id("ami", region, base.family)
    snapshot_id = _derived_id("snap", region, base.family)
    snapshots(cloud)[snapshot_id] = Snapshot(
        id=snapshot_id,
        account=AMAZON,
        region=region,
        family=base.family,
        view={
            "SnapshotId": snapshot_id, "VolumeId": "vol-ffffffff", "State": "completed",
            "StartTime": CREATED, "CompletionTime": CREATED, "Progress": "100%",
            "OwnerId": AMAZON, "OwnerAlias": "amazon", "Description": base.description,
            "VolumeSize": ROOT_GIB, "Encrypted": False, "StorageTier": "standard",
        },
    )  # fmt: skip
    images(cloud)[image_id] = Image(
        id=image_id,
        account=AMAZON,
        region=region,
        family=base.family,
        permissions=[{"Group": "all"}],
        view=image_view(
            image_id, base.name, base.description, owner=AMAZON, snapshot_id=snapshot_id
        )
        | {
            "ImageOwnerAlias": "amazon", "ImageLocation": f"amazon/{base.name}", "Public": True,
            "PublicSsmParameterName": f"{base.parameters.removeprefix('/')}/recommended/image_id",
        },
    )  # fmt: skip


def image_view(
    image_id: str, name: str, description: str, *, owner: str, snapshot_id: str
) -> dict[str, Any]:
    """What an x86-64 Linux image with one root disk shows."""
    return {
        "ImageId": image_id, "Name": name, "Description": description, "OwnerId": owner,
        "ImageLocation": f"{owner}/{name}", "State": "available", "Public": False,
        "CreationDate": timestamp_text(CREATED), "Architecture": "x86_64",
        "ImageType": "machine", "PlatformDetails": "Linux/UNIX",
        "UsageOperation": "RunInstances", "EnaSupport": True, "Hypervisor": "xen",
        "RootDeviceName": ROOT_DEVICE, "RootDeviceType": "ebs", "SriovNetSupport": "simple",
        "VirtualizationType": "hvm", "BootMode": "uefi-preferred", "ImdsSupport": "v2.0",
        "ProductCodes": [],
        "BlockDeviceMappings": [
            {
                "DeviceName": ROOT_DEVICE,
                "Ebs": {
                    "SnapshotId": snapshot_id, "VolumeSize": ROOT_GIB, "VolumeType": "gp3",
                    "Iops": 3000, "Throughput": 125, "DeleteOnTermination": True,
                    "Encrypted": False,
                },
            }
        ],
    }  # fmt: skip


def ensure_base_disk(cloud: Cloud, snapshot: Snapshot) -> None:
    """Make the disk of an AWS image the first time that it is needed."""
    if snapshot.family is None:
        return
    with _making_base_disk:
        try:
            cloud.disks.usage(snapshot.id)
        except KeyError:
            cloud.disks.add_base_snapshot(snapshot.id, family=snapshot.family)


def public_parameters(cloud: Cloud, region: str) -> dict[str, str]:
    """AWS's public parameters of this region by name: the newest image of each family."""
    ensure_base_images(cloud, region)
    found: dict[str, str] = {}
    for base in BASE_IMAGES:
        image_id = _derived_id("ami", region, base.family)
        details = {
            "schema_version": "1", "image_name": base.name, "image_id": image_id, "os": base.os,
            "ecs_runtime_version": "Docker version 25.0.14", "ecs_agent_version": "1.99.1",
            "image_version": "20261102", "source_image_name": base.source,
        }  # fmt: skip
        folder = f"{base.parameters}/recommended"
        found[folder] = json.dumps({k: v for k, v in details.items() if k != "image_version"})
        for key in (
            "image_id", "image_name", "os", "ecs_runtime_version", "ecs_agent_version",
            "image_version", "schema_version", "source_image_name",
        ):  # fmt: skip
            found[f"{folder}/{key}"] = details[key]
    return found
