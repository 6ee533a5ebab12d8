"""`aws:vpc/securityGroupIngressRule` and `…EgressRule`: one rule each, by its ID."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from local_cloud.pulumi_plugin.aws import Account, error_code
from local_cloud.pulumi_plugin.fields import text, whole
from local_cloud.pulumi_plugin.resource_type import TAGS, ResourceType
from local_cloud.pulumi_plugin.types.tagging import (
    ec2_tag_specification,
    tag_map,
    update_ec2_tags,
)
from local_cloud.pulumi_plugin.values import Props

_MISSING = ("InvalidSecurityGroupRuleId.NotFound", "InvalidGroup.NotFound")
_PEERS = {
    "cidrIpv4": "CidrIpv4",
    "cidrIpv6": "CidrIpv6",
    "prefixListId": "PrefixListId",
    "referencedSecurityGroupId": "ReferencedGroupId",
}


def _protocol(news: Props) -> str:
    protocol = str(news["ipProtocol"]).lower()
    return "-1" if protocol == "all" else protocol


def _permission(news: Props) -> Props:
    described = {"Description": news["description"]} if news.get("description") else {}
    permission: Props = {"IpProtocol": _protocol(news)}
    if permission["IpProtocol"] != "-1":
        permission |= {"FromPort": int(news["fromPort"]), "ToPort": int(news["toPort"])}
    if news.get("cidrIpv4"):
        permission["IpRanges"] = [{"CidrIp": news["cidrIpv4"], **described}]
    if news.get("cidrIpv6"):
        permission["Ipv6Ranges"] = [{"CidrIpv6": news["cidrIpv6"], **described}]
    if news.get("prefixListId"):
        permission["PrefixListIds"] = [{"PrefixListId": news["prefixListId"], **described}]
    if news.get("referencedSecurityGroupId"):
        permission["UserIdGroupPairs"] = [
            {"GroupId": news["referencedSecurityGroupId"], **described}
        ]
    return permission


def _creator(way: str) -> Callable[[Account, Props], str]:
    def create(account: Account, news: Props) -> str:
        request: Props = {
            "GroupId": news["securityGroupId"],
            "IpPermissions": [_permission(news)],
        }
        specification = ec2_tag_specification("security-group-rule", news.get("tags"))
        if specification:
            request["TagSpecifications"] = specification
        call = getattr(account.client("ec2"), f"authorize_security_group_{way}")
        return str(call(**request)["SecurityGroupRules"][0]["SecurityGroupRuleId"])

    return create


def _read(account: Account, resource_id: str, state: Props) -> Props | None:
    try:
        answer = account.client("ec2").describe_security_group_rules(
            SecurityGroupRuleIds=[resource_id]
        )
    except Exception as error:
        if error_code(error) in _MISSING:
            return None
        raise
    if not answer["SecurityGroupRules"]:
        return None
    rule = answer["SecurityGroupRules"][0]
    owner = rule.get("GroupOwnerId") or account.account_id()
    referenced: Any = rule.get("ReferencedGroupInfo", {}).get("GroupId")
    everything = rule["IpProtocol"] == "-1"
    return {
        "arn": f"arn:{account.partition}:ec2:{account.region}:{owner}"
        f":security-group-rule/{resource_id}",
        "cidrIpv4": rule.get("CidrIpv4"),
        "cidrIpv6": rule.get("CidrIpv6"),
        "description": rule.get("Description") or None,
        "fromPort": None if everything else rule.get("FromPort"),
        "ipProtocol": rule["IpProtocol"],
        "prefixListId": rule.get("PrefixListId"),
        "referencedSecurityGroupId": referenced,
        "securityGroupId": rule["GroupId"],
        "securityGroupRuleId": resource_id,
        "tags": tag_map(rule.get("Tags")),
        "toPort": None if everything else rule.get("ToPort"),
        "region": account.region,
    }


def _update(
    account: Account, resource_id: str, olds: Props, news: Props, changed: frozenset[str]
) -> Props:
    ec2 = account.client("ec2")
    if changed - {"tags"}:
        request: Props = {"IpProtocol": _protocol(news)}
        if request["IpProtocol"] != "-1":
            request |= {"FromPort": int(news["fromPort"]), "ToPort": int(news["toPort"])}
        if news.get("description"):
            request["Description"] = news["description"]
        request |= {api: news[name] for name, api in _PEERS.items() if news.get(name)}
        ec2.modify_security_group_rules(
            GroupId=news["securityGroupId"],
            SecurityGroupRules=[{"SecurityGroupRuleId": resource_id, "SecurityGroupRule": request}],
        )
    update_ec2_tags(ec2, resource_id, olds, news)
    return {}


def _deleter(way: str) -> Callable[[Account, str, Props], None]:
    def delete(account: Account, resource_id: str, state: Props) -> None:
        call = getattr(account.client("ec2"), f"revoke_security_group_{way}")
        try:
            call(GroupId=state["securityGroupId"], SecurityGroupRuleIds=[resource_id])
        except Exception as error:
            if error_code(error) not in (*_MISSING, "InvalidPermission.NotFound"):
                raise

    return delete


def _rule_type(pulumi_type: str, way: str) -> ResourceType:
    return ResourceType(
        pulumi_type=pulumi_type,
        inputs={
            "cidrIpv4": text(),
            "cidrIpv6": text(),
            "description": text(),
            "fromPort": whole(),
            "ipProtocol": text(required=True),
            "prefixListId": text(),
            "referencedSecurityGroupId": text(),
            "securityGroupId": text(required=True, replaces=True),
            "tags": TAGS,
            "toPort": whole(),
        },
        outputs=("arn", "securityGroupRuleId", "tagsAll"),
        create=_creator(way),
        read=_read,
        update=_update,
        delete=_deleter(way),
    )


INGRESS_RULE = _rule_type("aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule", "ingress")
EGRESS_RULE = _rule_type("aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule", "egress")
