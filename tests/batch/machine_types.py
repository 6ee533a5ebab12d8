"""EC2's word on machine types, for components that run against Pulumi's mocks."""

from __future__ import annotations

from typing import Any

from pulumi.runtime.mocks import MockCallArgs

TYPES = {
    "g5.xlarge": (4, 16_384, 1),
    "g5.2xlarge": (8, 32_768, 1),
    "g4dn.xlarge": (4, 16_384, 1),
    "p4d.24xlarge": (96, 1_179_648, 8),
    "m5.large": (2, 8_192, 0),
}
"""vCPUs, MiB and GPUs of each."""


def answer(args: MockCallArgs) -> dict[str, Any]:
    """As the two functions answer by which a program may ask; anything else is a defect."""
    if args.token == "aws:ec2/getInstanceTypes:getInstanceTypes":
        (asked,) = args.args["filters"]
        assert asked["name"] == "instance-type"
        return {"instanceTypes": [kind for kind in asked["values"] if kind in TYPES]}
    assert args.token == "aws:ec2/getInstanceType:getInstanceType", args.token
    kind = args.args["instanceType"]
    vcpus, memory, gpus = TYPES[kind]
    return {
        "instanceType": kind,
        "defaultVcpus": vcpus,
        "memorySize": memory,
        "gpuses": [{"count": gpus}] if gpus else [],
    }
