"""`aws:iam/role:Role`, and what the IAM types share: documents and "not there"."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import unquote

from local_cloud.pulumi_plugin.aws import Account, error_code
from local_cloud.pulumi_plugin.fields import blocks, boolean, json_document, text, text_set, whole
from local_cloud.pulumi_plugin.resource_type import TAGS, AutoName, ResourceType
from local_cloud.pulumi_plugin.types.tagging import full_name, tag_changes, tag_list, tag_map
from local_cloud.pulumi_plugin.values import Props


def document(value: Any) -> str:
    """A policy document as the text that IAM takes."""
    return value if isinstance(value, str) else json.dumps(value)


def answered_document(value: Any) -> str:
    """A policy document as IAM answered it (boto3 has parsed it, or it is URL-encoded)."""
    return unquote(value) if isinstance(value, str) else json.dumps(value)


def is_missing(error: Exception) -> bool:
    """Whether IAM says that the thing is not there."""
    return error_code(error) == "NoSuchEntity"


def given(news: Props, names: dict[str, str]) -> Props:
    return {api: news[name] for name, api in names.items() if news.get(name) not in (None, "")}


def _create_role(account: Account, news: Props) -> str:
    iam, name = account.client("iam"), full_name(news)
    extra = {
        "description": "Description",
        "maxSessionDuration": "MaxSessionDuration",
        "path": "Path",
        "permissionsBoundary": "PermissionsBoundary",
    }
    iam.create_role(
        RoleName=name,
        AssumeRolePolicyDocument=document(news["assumeRolePolicy"]),
        Tags=tag_list(news.get("tags")),
        **given(news, extra),
    )
    for policy in news.get("inlinePolicies") or []:
        iam.put_role_policy(
            RoleName=name, PolicyName=policy["name"], PolicyDocument=document(policy["policy"])
        )
    for arn in news.get("managedPolicyArns") or []:
        iam.attach_role_policy(RoleName=name, PolicyArn=arn)
    return name


def _read_role(account: Account, resource_id: str, state: Props) -> Props | None:
    iam = account.client("iam")
    try:
        role = iam.get_role(RoleName=resource_id)["Role"]
    except Exception as error:
        if is_missing(error):
            return None
        raise
    return {
        "arn": role["Arn"],
        "assumeRolePolicy": answered_document(role["AssumeRolePolicyDocument"]),
        "createDate": role["CreateDate"].strftime("%Y-%m-%dT%H:%M:%SZ"),
        "description": role.get("Description"),
        "forceDetachPolicies": state.get("forceDetachPolicies", False),
        "inlinePolicies": [
            {"name": name, "policy": _inline(iam, resource_id, name)}
            for name in _inline_names(iam, resource_id)
        ],
        "managedPolicyArns": _attached(iam, resource_id),
        "maxSessionDuration": role.get("MaxSessionDuration", 3600),
        "name": role["RoleName"],
        "path": role["Path"],
        "permissionsBoundary": role.get("PermissionsBoundary", {}).get("PermissionsBoundaryArn"),
        "tags": tag_map(role.get("Tags")),
        "uniqueId": role["RoleId"],
    }


def _inline_names(iam: Any, role: str) -> list[str]:
    return list(iam.list_role_policies(RoleName=role)["PolicyNames"])


def _inline(iam: Any, role: str, name: str) -> str:
    answer = iam.get_role_policy(RoleName=role, PolicyName=name)
    return answered_document(answer["PolicyDocument"])


def _attached(iam: Any, role: str) -> list[str]:
    answer = iam.list_attached_role_policies(RoleName=role)
    return [policy["PolicyArn"] for policy in answer["AttachedPolicies"]]


def _update_role(
    account: Account, resource_id: str, olds: Props, news: Props, changed: frozenset[str]
) -> Props:
    iam = account.client("iam")
    if "assumeRolePolicy" in changed:
        iam.update_assume_role_policy(
            RoleName=resource_id, PolicyDocument=document(news["assumeRolePolicy"])
        )
    if changed & {"description", "maxSessionDuration"}:
        iam.update_role(
            RoleName=resource_id,
            Description=news.get("description", ""),
            MaxSessionDuration=news.get("maxSessionDuration", 3600),
        )
    if "permissionsBoundary" in changed:
        _update_boundary(iam, resource_id, news.get("permissionsBoundary"))
    if "inlinePolicies" in changed:
        _update_inline(iam, resource_id, news.get("inlinePolicies") or [])
    if "managedPolicyArns" in changed:
        _update_attached(iam, resource_id, set(news.get("managedPolicyArns") or []))
    to_set, to_remove = tag_changes(olds, news)
    if to_remove:
        iam.untag_role(RoleName=resource_id, TagKeys=to_remove)
    if to_set:
        iam.tag_role(RoleName=resource_id, Tags=tag_list(to_set))
    return {}


def _update_boundary(iam: Any, role: str, boundary: str | None) -> None:
    if boundary:
        iam.put_role_permissions_boundary(RoleName=role, PermissionsBoundary=boundary)
    else:
        iam.delete_role_permissions_boundary(RoleName=role)


def _update_inline(iam: Any, role: str, policies: list[Props]) -> None:
    wanted = {policy["name"]: document(policy["policy"]) for policy in policies}
    for name in set(_inline_names(iam, role)) - wanted.keys():
        iam.delete_role_policy(RoleName=role, PolicyName=name)
    for name, content in wanted.items():
        iam.put_role_policy(RoleName=role, PolicyName=name, PolicyDocument=content)


def _update_attached(iam: Any, role: str, wanted: set[str]) -> None:
    present = set(_attached(iam, role))
    for arn in present - wanted:
        iam.detach_role_policy(RoleName=role, PolicyArn=arn)
    for arn in wanted - present:
        iam.attach_role_policy(RoleName=role, PolicyArn=arn)


def _delete_role(account: Account, resource_id: str, state: Props) -> None:
    """Take it out of instance profiles, then delete it, with the policies it owns or forces."""
    iam = account.client("iam")
    try:
        profiles = iam.list_instance_profiles_for_role(RoleName=resource_id)["InstanceProfiles"]
        for profile in profiles:
            iam.remove_role_from_instance_profile(
                InstanceProfileName=profile["InstanceProfileName"], RoleName=resource_id
            )
        if state.get("forceDetachPolicies") or state.get("managedPolicyArns"):
            _update_attached(iam, resource_id, set())
        if state.get("forceDetachPolicies") or state.get("inlinePolicies"):
            _update_inline(iam, resource_id, [])
        iam.delete_role(RoleName=resource_id)
    except Exception as error:
        if not is_missing(error):
            raise


ROLE = ResourceType(
    pulumi_type="aws:iam/role:Role",
    inputs={
        "assumeRolePolicy": json_document(required=True),
        "description": text(),
        "forceDetachPolicies": boolean(default=False),
        "inlinePolicies": blocks({"name": text(), "policy": json_document()}, computed=True),
        "managedPolicyArns": text_set(computed=True),
        "maxSessionDuration": whole(default=3600),
        "name": text(replaces=True, computed=True),
        "namePrefix": text(replaces=True, computed=True),
        "path": text(default="/", replaces=True),
        "permissionsBoundary": text(),
        "tags": TAGS,
    },
    outputs=("arn", "createDate", "uniqueId", "tagsAll"),
    conflicts=(("name", "namePrefix"),),
    auto_name=AutoName(max_length=64),
    regional=False,
    create=_create_role,
    read=_read_role,
    update=_update_role,
    delete=_delete_role,
)
