"""Has a subnet a way out, and is 443 open on it? As its route table, groups and ACL say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ami_provider.aws import Aws

ANYWHERE = "0.0.0.0/0"
ENDPOINTS = ("ssm", "ssmmessages", "ec2messages", "ecr.api", "ecr.dkr", "s3")
"""AWS's services that a builder without the internet needs endpoints for in its VPC."""


@dataclass(frozen=True)
class Way:
    """How machines of a subnet get out: `fault` says why they do not, `remedy` what to do."""

    text: str
    fault: str = ""
    remedy: str = ""


def find_way_out(aws: Aws, subnet: Mapping[str, Any]) -> Way:
    """The default route of the subnet, or endpoints for all that a bake needs."""
    subnet_id, vpc = str(subnet["SubnetId"]), str(subnet["VpcId"])
    tables = _ask(aws.ec2.describe_route_tables, vpc)["RouteTables"]
    table = _find_table(tables, subnet_id)
    default = [
        route
        for route in (table or {}).get("Routes", [])
        if route.get("DestinationCidrBlock") == ANYWHERE and route.get("State") != "blackhole"
    ]
    if default:
        return _judge(default[0], subnet)
    found = _ask(aws.ec2.describe_vpc_endpoints, vpc)["VpcEndpoints"]
    names = {str(one["ServiceName"]).split(f".{aws.region}.")[-1] for one in found}
    missing = [name for name in ENDPOINTS if name not in names]
    if not missing:
        return Way("no route to the internet; VPC endpoints for all that a bake needs")
    return Way(
        "",
        f"no route to the internet, and no VPC endpoints for {', '.join(missing)}",
        "Add a route 0.0.0.0/0 to an internet or NAT gateway, or choose another subnet.",
    )


def _judge(route: Mapping[str, Any], subnet: Mapping[str, Any]) -> Way:
    gateway = str(route.get("GatewayId") or "")
    if not gateway.startswith("igw-"):
        through = route.get("NatGatewayId") or route.get("TransitGatewayId") or gateway
        return Way(f"0.0.0.0/0 goes to {through or 'another network'}")
    if subnet.get("MapPublicIpOnLaunch"):
        return Way(f"0.0.0.0/0 goes to {gateway}, and machines get a public address")
    return Way(
        "",
        f"0.0.0.0/0 goes to {gateway}, but machines get no public address, so nothing answers",
        f"aws ec2 modify-subnet-attribute --subnet-id {subnet['SubnetId']} "
        f"--map-public-ip-on-launch, or choose a subnet behind a NAT gateway.",
    )


def find_open_443(aws: Aws, subnet_id: str, groups: Sequence[Mapping[str, Any]]) -> Way:
    """Whether any group of the machine lets 443 out, and the subnet's ACL too."""
    if not any(_lets_out(rule) for group in groups for rule in group["IpPermissionsEgress"]):
        named = ", ".join(str(group["GroupId"]) for group in groups)
        return Way(
            "",
            f"{named} let no 443 out",
            "Add an outbound rule for TCP 443 to 0.0.0.0/0; nothing has to be let in.",
        )
    filters: Any = [{"Name": "association.subnet-id", "Values": [subnet_id]}]
    acls = aws.ec2.describe_network_acls(Filters=filters)["NetworkAcls"]
    entries: list[Any] = sorted(
        (one for acl in acls for one in acl["Entries"] if one["Egress"] and _covers_443(one)),
        key=lambda one: int(one["RuleNumber"]),
    )
    if acls and (not entries or entries[0]["RuleAction"] != "allow"):
        return Way(
            "",
            f"the network ACL {acls[0]['NetworkAclId']} of {subnet_id} refuses 443",
            "Allow outbound TCP 443, and inbound TCP 1024-65535 for the answers.",
        )
    return Way("the groups and the network ACL let 443 out")


def _find_table(tables: Sequence[Mapping[str, Any]], subnet_id: str) -> Mapping[str, Any] | None:
    """The subnet's own table, or its VPC's main one."""
    main = None
    for table in tables:
        for association in table.get("Associations", []):
            if association.get("SubnetId") == subnet_id:
                return table
            main = table if association.get("Main") else main
    return main


def _lets_out(rule: Mapping[str, Any]) -> bool:
    wide = any(one.get("CidrIp") == ANYWHERE for one in rule.get("IpRanges", []))
    protocol = str(rule.get("IpProtocol"))
    ports = protocol == "-1" or (
        protocol in ("tcp", "6")
        and int(rule.get("FromPort", 0)) <= 443 <= int(rule.get("ToPort", 65535))
    )
    return ports and (wide or bool(rule.get("PrefixListIds")))


def _covers_443(entry: Mapping[str, Any]) -> bool:
    span = entry.get("PortRange") or {"From": 0, "To": 65535}
    return (
        entry.get("CidrBlock") == ANYWHERE
        and str(entry["Protocol"]) in ("-1", "6")
        and int(span["From"]) <= 443 <= int(span["To"])
    )


def _ask(action: Any, vpc: str) -> Any:
    return action(Filters=[{"Name": "vpc-id", "Values": [vpc]}])
