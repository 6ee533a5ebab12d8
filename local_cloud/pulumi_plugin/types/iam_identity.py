"""`aws:iam/…`: InstanceProfile and ServiceLinkedRole."""

from __future__ import annotations

from local_cloud.pulumi_plugin.aws import Account
from local_cloud.pulumi_plugin.fields import text
from local_cloud.pulumi_plugin.resource_type import TAGS, AutoName, InitFailedError, ResourceType
from local_cloud.pulumi_plugin.types.iam_role import given, is_missing
from local_cloud.pulumi_plugin.types.tagging import full_name, tag_changes, tag_list, tag_map
from local_cloud.pulumi_plugin.values import Props

# -- instance profiles -----------------------------------------------------------------------


def _create_profile(account: Account, news: Props) -> str:
    name = full_name(news)
    account.client("iam").create_instance_profile(
        InstanceProfileName=name, Path=news.get("path", "/"), Tags=tag_list(news.get("tags"))
    )
    return name


def _settle_profile(account: Account, resource_id: str, news: Props) -> None:
    if not news.get("role"):
        return
    seen = _read_profile(account, resource_id, {}) or {}
    if seen.get("role") == news["role"]:
        return
    try:
        account.client("iam").add_role_to_instance_profile(
            InstanceProfileName=resource_id, RoleName=news["role"]
        )
    except Exception as error:
        raise InitFailedError(f"adding the role {news['role']}: {error}") from error


def _read_profile(account: Account, resource_id: str, state: Props) -> Props | None:
    try:
        answer = account.client("iam").get_instance_profile(InstanceProfileName=resource_id)
    except Exception as error:
        if is_missing(error):
            return None
        raise
    profile = answer["InstanceProfile"]
    roles = [role["RoleName"] for role in profile.get("Roles", [])]
    return {
        "arn": profile["Arn"],
        "createDate": profile["CreateDate"].strftime("%Y-%m-%dT%H:%M:%SZ"),
        "name": profile["InstanceProfileName"],
        "path": profile["Path"],
        "role": roles[0] if roles else None,
        "tags": tag_map(profile.get("Tags")),
        "uniqueId": profile["InstanceProfileId"],
    }


def _update_profile(
    account: Account, resource_id: str, olds: Props, news: Props, changed: frozenset[str]
) -> Props:
    iam = account.client("iam")
    if "role" in changed and olds.get("role"):
        iam.remove_role_from_instance_profile(
            InstanceProfileName=resource_id, RoleName=olds["role"]
        )
    to_set, to_remove = tag_changes(olds, news)
    if to_remove:
        iam.untag_instance_profile(InstanceProfileName=resource_id, TagKeys=to_remove)
    if to_set:
        iam.tag_instance_profile(InstanceProfileName=resource_id, Tags=tag_list(to_set))
    return {}


def _delete_profile(account: Account, resource_id: str, state: Props) -> None:
    iam = account.client("iam")
    try:
        seen = _read_profile(account, resource_id, state)
        if seen and seen["role"]:
            iam.remove_role_from_instance_profile(
                InstanceProfileName=resource_id, RoleName=seen["role"]
            )
        iam.delete_instance_profile(InstanceProfileName=resource_id)
    except Exception as error:
        if not is_missing(error):
            raise


INSTANCE_PROFILE = ResourceType(
    pulumi_type="aws:iam/instanceProfile:InstanceProfile",
    inputs={
        "name": text(replaces=True, computed=True),
        "namePrefix": text(replaces=True, computed=True),
        "path": text(default="/", replaces=True),
        "role": text(),
        "tags": TAGS,
    },
    outputs=("arn", "createDate", "uniqueId", "tagsAll"),
    conflicts=(("name", "namePrefix"),),
    auto_name=AutoName(max_length=128),
    regional=False,
    create=_create_profile,
    settle=_settle_profile,
    read=_read_profile,
    update=_update_profile,
    delete=_delete_profile,
)

# -- service-linked roles --------------------------------------------------------------------


def _create_linked(account: Account, news: Props) -> str:
    extra = {"customSuffix": "CustomSuffix", "description": "Description"}
    answer = account.client("iam").create_service_linked_role(
        AWSServiceName=news["awsServiceName"], **given(news, extra)
    )
    return str(answer["Role"]["Arn"])


def _read_linked(account: Account, resource_id: str, state: Props) -> Props | None:
    try:
        role = account.client("iam").get_role(RoleName=resource_id.rpartition("/")[2])["Role"]
    except Exception as error:
        if is_missing(error):
            return None
        raise
    name = role["RoleName"]
    return {
        "arn": role["Arn"],
        "awsServiceName": role["Path"].strip("/").partition("/")[2],
        "createDate": role["CreateDate"].strftime("%Y-%m-%dT%H:%M:%SZ"),
        "customSuffix": name.partition("_")[2] or None,
        "description": role.get("Description"),
        "name": name,
        "path": role["Path"],
        "tags": tag_map(role.get("Tags")),
        "uniqueId": role["RoleId"],
    }


def _update_linked(
    account: Account, resource_id: str, olds: Props, news: Props, changed: frozenset[str]
) -> Props:
    iam, name = account.client("iam"), resource_id.rpartition("/")[2]
    if "description" in changed:
        iam.update_role(RoleName=name, Description=news.get("description", ""))
    to_set, to_remove = tag_changes(olds, news)
    if to_remove:
        iam.untag_role(RoleName=name, TagKeys=to_remove)
    if to_set:
        iam.tag_role(RoleName=name, Tags=tag_list(to_set))
    return {}


def _delete_linked(account: Account, resource_id: str, state: Props) -> None:
    iam = account.client("iam")
    try:
        task = iam.delete_service_linked_role(RoleName=resource_id.rpartition("/")[2])
    except Exception as error:
        if is_missing(error):
            return
        raise

    def look() -> bool | None:
        answer = iam.get_service_linked_role_deletion_status(DeletionTaskId=task["DeletionTaskId"])
        if answer["Status"] == "FAILED":
            raise RuntimeError(f"deletion failed: {answer.get('Reason', {}).get('Reason', '?')}")
        return True if answer["Status"] == "SUCCEEDED" else None

    account.wait_until(look, f"service-linked role {resource_id} to be deleted")


SERVICE_LINKED_ROLE = ResourceType(
    pulumi_type="aws:iam/serviceLinkedRole:ServiceLinkedRole",
    inputs={
        "awsServiceName": text(required=True, replaces=True),
        "customSuffix": text(replaces=True),
        "description": text(),
        "tags": TAGS,
    },
    outputs=("arn", "createDate", "name", "path", "uniqueId", "tagsAll"),
    regional=False,
    create=_create_linked,
    read=_read_linked,
    update=_update_linked,
    delete=_delete_linked,
)
