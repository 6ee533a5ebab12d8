"""`aws:ec2/securityGroup:SecurityGroup`, with its rules inside or beside it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from local_cloud.pulumi_plugin.aws import Account, error_code
from local_cloud.pulumi_plugin.fields import blocks, boolean, text, text_set, whole
from local_cloud.pulumi_plugin.resource_type import TAGS, AutoName, ResourceType
from local_cloud.pulumi_plugin.types.tagging import (
    ec2_tag_specification,
    full_name,
    tag_map,
    update_ec2_tags,
)
from local_cloud.pulumi_plugin.values import Props, has_unknown, json_text

_RULE = {
    "cidrBlocks": text_set(),
    "description": text(),
    "fromPort": whole(required=True),
    "ipv6CidrBlocks": text_set(),
    "prefixListIds": text_set(),
    "protocol": text(required=True),
    "securityGroups": text_set(),
    "self": boolean(),
    "toPort": whole(required=True),
}
#: Where a rule's peers are: our attribute, EC2's list of them and the key in it.
_PEERS = (
    ("cidrBlocks", "IpRanges", "CidrIp"),
    ("ipv6CidrBlocks", "Ipv6Ranges", "CidrIpv6"),
    ("prefixListIds", "PrefixListIds", "PrefixListId"),
    ("securityGroups", "UserIdGroupPairs", "GroupId"),
)


def _permissions(rules: Iterable[Props] | None, group_id: str) -> list[Props]:
    """One EC2 permission for each rule and peer, so that two lists of rules can be subtracted."""
    return [permission for rule in rules or () for permission in _of_rule(rule, group_id)]


def _of_rule(rule: Props, group_id: str) -> Iterator[Props]:
    protocol = str(rule["protocol"]).lower()
    base: Props = {"IpProtocol": "-1" if protocol == "all" else protocol}
    if base["IpProtocol"] != "-1":
        base |= {"FromPort": int(rule["fromPort"]), "ToPort": int(rule["toPort"])}
    described = {"Description": rule["description"]} if rule.get("description") else {}
    for attribute, api_list, api_key in _PEERS:
        peers = list(rule.get(attribute) or [])
        if attribute == "securityGroups" and rule.get("self"):
            peers.append(group_id)
        for peer in peers:
            yield base | {api_list: [{api_key: peer, **described}]}


def _rules(permissions: Iterable[Props], group_id: str) -> list[Props]:
    """EC2's permissions as the rules of the resource, those that differ only in peers joined."""
    joined: dict[str, Props] = {}
    for permission in permissions:
        for attribute, api_list, api_key in _PEERS:
            for peer in permission.get(api_list, []):
                rule = {
                    "protocol": permission["IpProtocol"],
                    "fromPort": permission.get("FromPort", 0),
                    "toPort": permission.get("ToPort", 0),
                    "description": peer.get("Description", ""),
                }
                kept = joined.setdefault(json_text(rule), rule | {"self": False})
                if attribute == "securityGroups" and peer[api_key] == group_id:
                    kept["self"] = True
                else:
                    kept.setdefault(attribute, []).append(peer[api_key])
    return list(joined.values())


def _create(account: Account, news: Props) -> str:
    ec2 = account.client("ec2")
    request: Props = {"GroupName": full_name(news), "Description": news["description"]}
    if news.get("vpcId"):
        request["VpcId"] = news["vpcId"]
    specification = ec2_tag_specification("security-group", news.get("tags"))
    if specification:
        request["TagSpecifications"] = specification
    return str(ec2.create_security_group(**request)["GroupId"])


def _finish(account: Account, resource_id: str, news: Props) -> None:
    """The rules as given; EC2's own "all outbound" goes, as the real provider has it."""
    ec2, group = account.client("ec2"), _find(account, resource_id) or {}
    present = group.get("IpPermissionsEgress", [])
    _apply(ec2, resource_id, "egress", present, news.get("egress") or [])
    _apply(ec2, resource_id, "ingress", [], news.get("ingress") or [])


def _meaning(rules: list[Props]) -> Any:
    if has_unknown(rules):
        return rules
    return sorted(json_text(permission) for permission in _permissions(rules, "this group"))


def _split(permissions: Iterable[Props]) -> list[Props]:
    """EC2's permissions with one peer each and nothing but what a request names."""
    parts = []
    for permission in permissions:
        base = {k: permission[k] for k in ("IpProtocol", "FromPort", "ToPort") if k in permission}
        if base["IpProtocol"] == "-1":
            base = {"IpProtocol": "-1"}
        for _, api_list, api_key in _PEERS:
            for peer in permission.get(api_list, []):
                kept = {k: peer[k] for k in (api_key, "Description") if peer.get(k)}
                parts.append(base | {api_list: [kept]})
    return parts


def _apply(ec2: Any, group_id: str, way: str, present: list[Props], rules: list[Props]) -> None:
    has = {json_text(part): part for part in _split(present)}
    wants = {json_text(part): part for part in _permissions(rules, group_id)}
    revoke = [part for key, part in has.items() if key not in wants]
    authorise = [part for key, part in wants.items() if key not in has]
    calls = {
        "egress": (ec2.revoke_security_group_egress, ec2.authorize_security_group_egress),
        "ingress": (ec2.revoke_security_group_ingress, ec2.authorize_security_group_ingress),
    }[way]
    for call, permissions in zip(calls, (revoke, authorise), strict=True):
        if permissions:
            call(GroupId=group_id, IpPermissions=permissions)


def _find(account: Account, group_id: str) -> Props | None:
    try:
        answer = account.client("ec2").describe_security_groups(GroupIds=[group_id])
    except Exception as error:
        if error_code(error) in ("InvalidGroup.NotFound", "InvalidGroupId.Malformed"):
            return None
        raise
    return dict(answer["SecurityGroups"][0])


def _read(account: Account, resource_id: str, state: Props) -> Props | None:
    group = _find(account, resource_id)
    if group is None:
        return None
    owner = group["OwnerId"]
    return {
        "arn": f"arn:{account.partition}:ec2:{account.region}:{owner}:security-group/{resource_id}",
        "description": group["Description"],
        "egress": _rules(group.get("IpPermissionsEgress", []), resource_id),
        "ingress": _rules(group.get("IpPermissions", []), resource_id),
        "name": group["GroupName"],
        "ownerId": owner,
        "revokeRulesOnDelete": state.get("revokeRulesOnDelete", False),
        "tags": tag_map(group.get("Tags")),
        "vpcId": group.get("VpcId"),
        "region": account.region,
    }


def _update(
    account: Account, resource_id: str, olds: Props, news: Props, changed: frozenset[str]
) -> Props:
    ec2, group = account.client("ec2"), _find(account, resource_id) or {}
    for way, present in (("egress", "IpPermissionsEgress"), ("ingress", "IpPermissions")):
        if way in changed or (not changed and news.get(way)):
            _apply(ec2, resource_id, way, group.get(present, []), news.get(way) or [])
    update_ec2_tags(ec2, resource_id, olds, news)
    return {}


def _delete(account: Account, resource_id: str, state: Props) -> None:
    """Delete it, waiting while something still uses it (`DependencyViolation`)."""
    ec2 = account.client("ec2")
    if state.get("revokeRulesOnDelete"):
        group = _find(account, resource_id) or {}
        _apply(ec2, resource_id, "egress", group.get("IpPermissionsEgress", []), [])
        _apply(ec2, resource_id, "ingress", group.get("IpPermissions", []), [])

    def attempt() -> bool | None:
        try:
            ec2.delete_security_group(GroupId=resource_id)
        except Exception as error:
            if error_code(error) == "DependencyViolation":
                return None
            if error_code(error) != "InvalidGroup.NotFound":
                raise
        return True

    account.wait_until(attempt, f"nothing to use security group {resource_id} any more")


SECURITY_GROUP = ResourceType(
    pulumi_type="aws:ec2/securityGroup:SecurityGroup",
    inputs={
        "description": text(default="Managed by Pulumi", replaces=True),
        "egress": blocks(_RULE, computed=True, clears=True, normal=_meaning),
        "ingress": blocks(_RULE, computed=True, clears=True, normal=_meaning),
        "name": text(replaces=True, computed=True),
        "namePrefix": text(replaces=True, computed=True),
        "revokeRulesOnDelete": boolean(default=False),
        "tags": TAGS,
        "vpcId": text(replaces=True, computed=True),
    },
    outputs=("arn", "ownerId", "tagsAll"),
    conflicts=(("name", "namePrefix"),),
    auto_name=AutoName(max_length=255),
    create=_create,
    finish=_finish,
    read=_read,
    update=_update,
    delete=_delete,
)
