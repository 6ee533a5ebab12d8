"""What a machine of a bake is launched with, and whether it is up: requests, not waits."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ami_provider import tags
from ami_provider.aws import Aws
from ami_provider.course import choose_rate
from ami_provider.errors import bake_error, get_message, is_aws_error, is_transient
from ami_provider.job import Job
from ami_provider.site import BuildSite
from ami_provider.waiting import NoAnswerError
from ami_provider.watching import get_watch

Request = dict[str, Any]
"""RunInstances' parameters."""

USER_DATA = """#!/bin/bash
# First of all: this machine ends by itself when nobody comes for it. The timer lives in /run.
systemd-run --quiet --unit=baked-ami-deadline --on-active={seconds} \\
    --timer-property=AccuracySec=1s systemctl poweroff || shutdown -h +{minutes}
# It never joins a cluster: the ECS agent waits for this script, and is off when it ends.
systemctl mask --runtime ecs.service
systemctl stop --no-block ecs.service
"""


@dataclass(frozen=True)
class Choice:
    """One place to launch: a machine type in a subnet, on one of the two markets."""

    instance_type: str
    subnet_id: str
    market: str

    def __str__(self) -> str:
        return f"{self.instance_type} {self.market} in {self.subnet_id}"


def list_choices(site: BuildSite, types: Sequence[str]) -> list[Choice]:
    """Every choice in the order it is tried: spot everywhere first, then on-demand if allowed."""
    markets = {
        "spot": ("spot",),
        "on-demand": ("on-demand",),
        "spot-then-on-demand": ("spot", "on-demand"),
    }[site.capacity]
    return [
        Choice(instance_type, subnet, market)
        for market in markets
        for instance_type in types
        for subnet in site.subnet_ids
    ]


def build_request(
    job: Job, role: tags.Role, choice: Choice, *, image_id: str, minutes: int
) -> Request:
    """RunInstances' parameters: no key, no inbound port, IMDSv2 only, gone on power-off."""
    volume = job.recipe.root_volume
    disk: dict[str, Any] = {
        "VolumeSize": max(volume.size_gib, job.recipe.base.size_gib),
        "VolumeType": volume.type,
        "DeleteOnTermination": True,
    }
    if volume.iops:
        disk["Iops"] = volume.iops
    if volume.throughput:
        disk["Throughput"] = volume.throughput
    if job.recipe.encryption_key and role == "builder":
        disk |= {"Encrypted": True, "KmsKeyId": job.recipe.encryption_key}
    rate = choose_rate(job.recipe, job.site)
    if rate and (role == "verifier" or job.start):
        disk["VolumeInitializationRate"] = rate
    profile = job.site.instance_profile
    tag_list = tags.to_list(job.get_tags(role))
    request: Request = {
        "ImageId": image_id,
        "InstanceType": choice.instance_type,
        "MinCount": 1,
        "MaxCount": 1,
        "SubnetId": choice.subnet_id,
        "SecurityGroupIds": list(job.site.security_group_ids),
        "IamInstanceProfile": {"Arn" if profile.startswith("arn:") else "Name": profile},
        "InstanceInitiatedShutdownBehavior": "terminate",
        "MetadataOptions": {
            "HttpEndpoint": "enabled",
            "HttpTokens": "required",
            "HttpPutResponseHopLimit": 1,
        },
        "BlockDeviceMappings": [{"DeviceName": job.recipe.base.root_device, "Ebs": disk}],
        "UserData": USER_DATA.format(seconds=minutes * 60, minutes=minutes),
        "TagSpecifications": [
            {"ResourceType": kind, "Tags": list(tag_list)} for kind in ("instance", "volume")
        ],
    }
    if choice.market == "spot":
        request["InstanceMarketOptions"] = {
            "MarketType": "spot",
            "SpotOptions": {
                "SpotInstanceType": "one-time",
                "InstanceInterruptionBehavior": "terminate",
            },
        }
    return request


def is_rate_refused(error: BaseException) -> bool:
    """Whether a launch failed for the rate: the region's MiB/s or EBS's own are used up."""
    return is_aws_error(error) and "initialization" in get_message(error).lower()


def drop_rate(request: Request) -> bool:
    """Leave the rate out of the request; whether there was one."""
    (root,) = request["BlockDeviceMappings"]
    without = {k: v for k, v in root["Ebs"].items() if k != "VolumeInitializationRate"}
    had_one: bool = without != root["Ebs"]
    request["BlockDeviceMappings"] = [{**root, "Ebs": without}]
    return had_one


def get_client_token(job: Job, role: tags.Role, request: Request, attempt: int) -> str:
    """The same for the same machine asked for by anyone, another one for every attempt.

    A builder counts as the same whatever it is booted from: of two clients that choose otherwise
    EC2 refuses the second, which then works on the first one's.
    """
    market = "spot" if "InstanceMarketOptions" in request else "on-demand"
    image = job.recipe.base.ami_id if role == "builder" else str(request.get("ImageId"))
    parts = [job.fingerprint, role, image, str(attempt), market]
    parts += [str(request.get("InstanceType")), str(request.get("SubnetId"))]
    return "baked-ami-" + hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:48]


def set_attempt(request: Request, attempt: int) -> None:
    """Write the attempt into the tags that the machine and its volume are launched with."""
    for specification in request["TagSpecifications"]:
        others = [t for t in specification.get("Tags", ()) if t.get("Key") != tags.ATTEMPT]
        specification["Tags"] = [*others, {"Key": tags.ATTEMPT, "Value": str(attempt)}]


def is_online(aws: Aws, machine_id: str) -> bool:
    """Whether the machine's SSM agent takes commands; raises `NoAnswerError` if AWS is silent."""
    try:
        return bool(get_watch(aws, "agents", _find_online).look(machine_id))
    except Exception as error:
        if is_transient(error):
            raise NoAnswerError(error) from error
        raise bake_error(
            error, "could not ask for the SSM agent", "ssm:DescribeInstanceInformation"
        ) from error


def _find_online(aws: Aws, ids: Sequence[str]) -> dict[str, bool]:
    asked = aws.ssm.get_paginator("describe_instance_information").paginate(
        Filters=[{"Key": "InstanceIds", "Values": list(ids)}]
    )
    listed = [entry for page in asked for entry in page["InstanceInformationList"]]
    return {str(e.get("InstanceId")): e.get("PingStatus") == "Online" for e in listed}


def has_gpu(aws: Aws, instance_type: str) -> bool:
    """Whether machines of this type have a GPU: EC2's word, or the type's name if it gives none."""
    try:
        found = aws.ec2.describe_instance_types(InstanceTypes=[instance_type])["InstanceTypes"]  # type: ignore[list-item]
        return any(kind.get("GpuInfo", {}).get("Gpus") for kind in found)
    except Exception as error:
        if not is_aws_error(error):
            raise
        return bool(re.match(r"(g\d|p\d|gr\d)", instance_type))
