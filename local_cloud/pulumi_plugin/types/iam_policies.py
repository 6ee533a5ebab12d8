"""`aws:iam/…`: RolePolicy, RolePolicyAttachment and Policy."""

from __future__ import annotations

from typing import Any

from local_cloud.pulumi_plugin.aws import Account
from local_cloud.pulumi_plugin.fields import json_document, text
from local_cloud.pulumi_plugin.resource_type import TAGS, AutoName, ResourceType
from local_cloud.pulumi_plugin.types.iam_role import answered_document, document, is_missing
from local_cloud.pulumi_plugin.types.tagging import full_name, tag_changes, tag_list, tag_map
from local_cloud.pulumi_plugin.values import Props

#: IAM keeps at most this many versions of a managed policy.
_MOST_VERSIONS = 5

# -- a policy inside a role ------------------------------------------------------------------


def _put(account: Account, role: str, name: str, policy: Any) -> None:
    account.client("iam").put_role_policy(
        RoleName=role, PolicyName=name, PolicyDocument=document(policy)
    )


def _create_inline(account: Account, news: Props) -> str:
    name = full_name(news)
    _put(account, news["role"], name, news["policy"])
    return f"{news['role']}:{name}"


def _read_inline(account: Account, resource_id: str, state: Props) -> Props | None:
    role, _, name = resource_id.partition(":")
    try:
        answer = account.client("iam").get_role_policy(RoleName=role, PolicyName=name)
    except Exception as error:
        if is_missing(error):
            return None
        raise
    return {"name": name, "role": role, "policy": answered_document(answer["PolicyDocument"])}


def _update_inline(
    account: Account, resource_id: str, olds: Props, news: Props, changed: frozenset[str]
) -> Props:
    role, _, name = resource_id.partition(":")
    _put(account, role, name, news["policy"])
    return {}


def _delete_inline(account: Account, resource_id: str, state: Props) -> None:
    role, _, name = resource_id.partition(":")
    try:
        account.client("iam").delete_role_policy(RoleName=role, PolicyName=name)
    except Exception as error:
        if not is_missing(error):
            raise


ROLE_POLICY = ResourceType(
    pulumi_type="aws:iam/rolePolicy:RolePolicy",
    inputs={
        "name": text(replaces=True, computed=True),
        "namePrefix": text(replaces=True, computed=True),
        "policy": json_document(required=True),
        "role": text(required=True, replaces=True),
    },
    outputs=(),
    conflicts=(("name", "namePrefix"),),
    auto_name=AutoName(max_length=128),
    regional=False,
    create=_create_inline,
    read=_read_inline,
    update=_update_inline,
    delete=_delete_inline,
)

# -- a managed policy attached to a role -----------------------------------------------------


def _attach(account: Account, news: Props) -> str:
    account.client("iam").attach_role_policy(RoleName=news["role"], PolicyArn=news["policyArn"])
    return f"{news['role']}/{news['policyArn']}"


def _read_attachment(account: Account, resource_id: str, state: Props) -> Props | None:
    role, _, arn = resource_id.partition("/")
    try:
        pages = account.client("iam").get_paginator("list_attached_role_policies")
        attached = {
            policy["PolicyArn"]
            for page in pages.paginate(RoleName=role)
            for policy in page["AttachedPolicies"]
        }
    except Exception as error:
        if is_missing(error):
            return None
        raise
    return {"role": role, "policyArn": arn} if arn in attached else None


def _detach(account: Account, resource_id: str, state: Props) -> None:
    role, _, arn = resource_id.partition("/")
    try:
        account.client("iam").detach_role_policy(RoleName=role, PolicyArn=arn)
    except Exception as error:
        if not is_missing(error):
            raise


ROLE_POLICY_ATTACHMENT = ResourceType(
    pulumi_type="aws:iam/rolePolicyAttachment:RolePolicyAttachment",
    inputs={
        "policyArn": text(required=True, replaces=True),
        "role": text(required=True, replaces=True),
    },
    outputs=(),
    regional=False,
    create=_attach,
    read=_read_attachment,
    delete=_detach,
)

# -- managed policies ------------------------------------------------------------------------


def _create_policy(account: Account, news: Props) -> str:
    extra = {"Description": news["description"]} if news.get("description") else {}
    answer = account.client("iam").create_policy(
        PolicyName=full_name(news),
        Path=news.get("path", "/"),
        PolicyDocument=document(news["policy"]),
        Tags=tag_list(news.get("tags")),
        **extra,
    )
    return str(answer["Policy"]["Arn"])


def _read_policy(account: Account, resource_id: str, state: Props) -> Props | None:
    iam = account.client("iam")
    try:
        policy = iam.get_policy(PolicyArn=resource_id)["Policy"]
        version = iam.get_policy_version(
            PolicyArn=resource_id, VersionId=policy["DefaultVersionId"]
        )["PolicyVersion"]
    except Exception as error:
        if is_missing(error):
            return None
        raise
    return {
        "arn": resource_id,
        "attachmentCount": policy.get("AttachmentCount", 0),
        "description": policy.get("Description"),
        "name": policy["PolicyName"],
        "path": policy["Path"],
        "policy": answered_document(version["Document"]),
        "policyId": policy["PolicyId"],
        "tags": tag_map(policy.get("Tags")),
    }


def _update_policy(
    account: Account, resource_id: str, olds: Props, news: Props, changed: frozenset[str]
) -> Props:
    iam = account.client("iam")
    if "policy" in changed:
        _make_room(iam, resource_id)
        iam.create_policy_version(
            PolicyArn=resource_id, PolicyDocument=document(news["policy"]), SetAsDefault=True
        )
    to_set, to_remove = tag_changes(olds, news)
    if to_remove:
        iam.untag_policy(PolicyArn=resource_id, TagKeys=to_remove)
    if to_set:
        iam.tag_policy(PolicyArn=resource_id, Tags=tag_list(to_set))
    return {}


def _versions(iam: Any, arn: str) -> list[Props]:
    versions: list[Props] = iam.list_policy_versions(PolicyArn=arn)["Versions"]
    spare = [version for version in versions if not version["IsDefaultVersion"]]
    return sorted(spare, key=lambda version: int(version["VersionId"].lstrip("v")))


def _make_room(iam: Any, arn: str) -> None:
    spare = _versions(iam, arn)
    if len(spare) + 1 >= _MOST_VERSIONS:
        iam.delete_policy_version(PolicyArn=arn, VersionId=spare[0]["VersionId"])


def _delete_policy(account: Account, resource_id: str, state: Props) -> None:
    iam = account.client("iam")
    try:
        for version in _versions(iam, resource_id):
            iam.delete_policy_version(PolicyArn=resource_id, VersionId=version["VersionId"])
        iam.delete_policy(PolicyArn=resource_id)
    except Exception as error:
        if not is_missing(error):
            raise


POLICY = ResourceType(
    pulumi_type="aws:iam/policy:Policy",
    inputs={
        "description": text(replaces=True),
        "name": text(replaces=True, computed=True),
        "namePrefix": text(replaces=True, computed=True),
        "path": text(default="/", replaces=True),
        "policy": json_document(required=True),
        "tags": TAGS,
    },
    outputs=("arn", "attachmentCount", "policyId", "tagsAll"),
    conflicts=(("name", "namePrefix"),),
    auto_name=AutoName(max_length=128),
    regional=False,
    create=_create_policy,
    read=_read_policy,
    update=_update_policy,
    delete=_delete_policy,
)
