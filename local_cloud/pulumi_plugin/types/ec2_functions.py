"""The functions (data sources) of EC2, as a table at the end."""

from __future__ import annotations

from collections.abc import Mapping

from local_cloud.pulumi_plugin.aws import Account
from local_cloud.pulumi_plugin.fields import blocks, boolean, mapping, text
from local_cloud.pulumi_plugin.resource_type import Function
from local_cloud.pulumi_plugin.types.tagging import tag_map
from local_cloud.pulumi_plugin.values import Props

_FILTERS = blocks({"name": text(), "values": text()})


def _filters(arguments: Props, names: Mapping[str, str]) -> list[Props]:
    found = [
        {"Name": each["name"], "Values": each["values"]} for each in arguments.get("filters") or []
    ]
    found += [
        {"Name": api, "Values": [str(arguments[name])]}
        for name, api in names.items()
        if arguments.get(name) not in (None, "")
    ]
    tags = arguments.get("tags") or {}
    return found + [{"Name": f"tag:{key}", "Values": [value]} for key, value in tags.items()]


def _the_one(found: list[Props], what: str) -> Props:
    if len(found) != 1:
        count = "no" if not found else "more than one"
        raise ValueError(f"{count} matching {what} found: the arguments must name exactly one")
    return found[0]


def _subnet(account: Account, arguments: Props) -> Props:
    names = {
        "availabilityZone": "availability-zone",
        "cidrBlock": "cidr-block",
        "id": "subnet-id",
        "vpcId": "vpc-id",
    }
    answer = account.client("ec2").describe_subnets(Filters=_filters(arguments, names))
    found = _the_one(answer["Subnets"], "EC2 Subnet")
    return {
        "arn": found.get("SubnetArn"),
        "availabilityZone": found["AvailabilityZone"],
        "availabilityZoneId": found.get("AvailabilityZoneId"),
        "availableIpAddressCount": found.get("AvailableIpAddressCount"),
        "cidrBlock": found["CidrBlock"],
        "defaultForAz": found.get("DefaultForAz", False),
        "id": found["SubnetId"],
        "mapPublicIpOnLaunch": found.get("MapPublicIpOnLaunch", False),
        "ownerId": found.get("OwnerId"),
        "state": found.get("State"),
        "tags": tag_map(found.get("Tags")),
        "vpcId": found["VpcId"],
        "region": account.region,
    }


def _security_group(account: Account, arguments: Props) -> Props:
    names = {"id": "group-id", "name": "group-name", "vpcId": "vpc-id"}
    answer = account.client("ec2").describe_security_groups(Filters=_filters(arguments, names))
    found = _the_one(answer["SecurityGroups"], "EC2 Security Group")
    identity = f"{account.region}:{found['OwnerId']}:security-group/{found['GroupId']}"
    return {
        "arn": f"arn:{account.partition}:ec2:{identity}",
        "description": found["Description"],
        "id": found["GroupId"],
        "name": found["GroupName"],
        "tags": tag_map(found.get("Tags")),
        "vpcId": found.get("VpcId"),
        "region": account.region,
    }


def _vpc(account: Account, arguments: Props) -> Props:
    names = {"cidrBlock": "cidr", "id": "vpc-id", "state": "state"}
    filters = _filters(arguments, names)
    if arguments.get("default"):
        filters.append({"Name": "isDefault", "Values": ["true"]})
    found = _the_one(account.client("ec2").describe_vpcs(Filters=filters)["Vpcs"], "EC2 VPC")
    owner = found.get("OwnerId") or account.account_id()
    return {
        "arn": f"arn:{account.partition}:ec2:{account.region}:{owner}:vpc/{found['VpcId']}",
        "cidrBlock": found["CidrBlock"],
        "default": found.get("IsDefault", False),
        "id": found["VpcId"],
        "instanceTenancy": found.get("InstanceTenancy"),
        "ownerId": owner,
        "state": found.get("State"),
        "tags": tag_map(found.get("Tags")),
        "region": account.region,
    }


def _subnets(account: Account, arguments: Props) -> Props:
    answer = account.client("ec2").describe_subnets(Filters=_filters(arguments, {}))
    ids = sorted(subnet["SubnetId"] for subnet in answer["Subnets"])
    return {"id": account.region, "ids": ids, "region": account.region}


def _instance_types(account: Account, arguments: Props) -> Props:
    pages = account.client("ec2").get_paginator("describe_instance_types")
    found = [
        kind["InstanceType"]
        for page in pages.paginate(Filters=_filters(arguments, {}))
        for kind in page["InstanceTypes"]
    ]
    return {"id": account.region, "instanceTypes": found, "region": account.region}


def _instance_type(account: Account, arguments: Props) -> Props:
    """What tells machines apart for a job; the rest of the attributes is not modelled."""
    name = arguments["instanceType"]
    answer = account.client("ec2").describe_instance_types(InstanceTypes=[name])
    (found,) = answer["InstanceTypes"]
    gpus = found.get("GpuInfo", {})
    return {
        "id": name,
        "instanceType": name,
        "defaultVcpus": found["VCpuInfo"]["DefaultVCpus"],
        "memorySize": found["MemoryInfo"]["SizeInMiB"],
        "gpuses": [
            {
                "count": gpu["Count"],
                "manufacturer": gpu.get("Manufacturer"),
                "memorySize": gpu.get("MemoryInfo", {}).get("SizeInMiB"),
                "name": gpu.get("Name"),
            }
            for gpu in gpus.get("Gpus", [])
        ],
        "totalGpuMemory": gpus.get("TotalGpuMemoryInMiB"),
        "supportedArchitectures": found["ProcessorInfo"]["SupportedArchitectures"],
        "region": account.region,
    }


ALL = (
    Function(
        pulumi_type="aws:ec2/getSubnet:getSubnet",
        arguments={
            "availabilityZone": text(),
            "cidrBlock": text(),
            "filters": _FILTERS,
            "id": text(),
            "tags": mapping(),
            "vpcId": text(),
        },
        invoke=_subnet,
    ),
    Function(
        pulumi_type="aws:ec2/getSubnets:getSubnets",
        arguments={"filters": _FILTERS, "tags": mapping()},
        invoke=_subnets,
    ),
    Function(
        pulumi_type="aws:ec2/getSecurityGroup:getSecurityGroup",
        arguments={
            "filters": _FILTERS,
            "id": text(),
            "name": text(),
            "tags": mapping(),
            "vpcId": text(),
        },
        invoke=_security_group,
    ),
    Function(
        pulumi_type="aws:ec2/getVpc:getVpc",
        arguments={
            "cidrBlock": text(),
            "default": boolean(),
            "filters": _FILTERS,
            "id": text(),
            "state": text(),
            "tags": mapping(),
        },
        invoke=_vpc,
    ),
    Function(
        pulumi_type="aws:ec2/getInstanceType:getInstanceType",
        arguments={"instanceType": text(required=True)},
        invoke=_instance_type,
    ),
    Function(
        pulumi_type="aws:ec2/getInstanceTypes:getInstanceTypes",
        arguments={"filters": _FILTERS},
        invoke=_instance_types,
    ),
)
