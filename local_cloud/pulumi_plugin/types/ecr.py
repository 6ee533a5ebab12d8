"""`aws:ecr/repository:Repository`."""

from __future__ import annotations

from local_cloud.pulumi_plugin.aws import Account, error_code
from local_cloud.pulumi_plugin.fields import block, blocks, boolean, text
from local_cloud.pulumi_plugin.resource_type import TAGS, AutoName, ResourceType
from local_cloud.pulumi_plugin.types.tagging import tag_changes, tag_list, tag_map
from local_cloud.pulumi_plugin.values import Props


def _create_repository(account: Account, news: Props) -> str:
    request: Props = {
        "repositoryName": news["name"],
        "imageTagMutability": news["imageTagMutability"],
        "tags": tag_list(news.get("tags")),
    }
    if news.get("imageScanningConfiguration"):
        request["imageScanningConfiguration"] = news["imageScanningConfiguration"]
    encryption = news.get("encryptionConfigurations")
    if encryption:
        given = {"encryptionType": encryption[0].get("encryptionType", "AES256")}
        if encryption[0].get("kmsKey"):
            given["kmsKey"] = encryption[0]["kmsKey"]
        request["encryptionConfiguration"] = given
    answer = account.client("ecr").create_repository(**request)
    return str(answer["repository"]["repositoryName"])


def _read_repository(account: Account, resource_id: str, state: Props) -> Props | None:
    ecr = account.client("ecr")
    try:
        answer = ecr.describe_repositories(repositoryNames=[resource_id])
    except Exception as error:
        if error_code(error) == "RepositoryNotFoundException":
            return None
        raise
    found = answer["repositories"][0]
    arn = found["repositoryArn"]
    return {
        "arn": arn,
        "encryptionConfigurations": [found.get("encryptionConfiguration") or {}],
        "forceDelete": state.get("forceDelete"),
        "imageScanningConfiguration": found.get("imageScanningConfiguration"),
        "imageTagMutability": found.get("imageTagMutability", "MUTABLE"),
        "name": resource_id,
        "region": account.region,
        "registryId": found["registryId"],
        "repositoryUrl": found["repositoryUri"],
        "tags": tag_map(ecr.list_tags_for_resource(resourceArn=arn).get("tags")),
    }


def _update_repository(
    account: Account, resource_id: str, olds: Props, news: Props, changed: frozenset[str]
) -> Props:
    ecr = account.client("ecr")
    if "imageTagMutability" in changed:
        ecr.put_image_tag_mutability(
            repositoryName=resource_id, imageTagMutability=news["imageTagMutability"]
        )
    if "imageScanningConfiguration" in changed:
        ecr.put_image_scanning_configuration(
            repositoryName=resource_id,
            imageScanningConfiguration=news.get("imageScanningConfiguration")
            or {"scanOnPush": False},
        )
    to_set, to_remove = tag_changes(olds, news)
    if to_remove:
        ecr.untag_resource(resourceArn=olds["arn"], tagKeys=to_remove)
    if to_set:
        ecr.tag_resource(resourceArn=olds["arn"], tags=tag_list(to_set))
    return {}


def _delete_repository(account: Account, resource_id: str, state: Props) -> None:
    try:
        account.client("ecr").delete_repository(
            repositoryName=resource_id, force=bool(state.get("forceDelete"))
        )
    except Exception as error:
        if error_code(error) != "RepositoryNotFoundException":
            raise


REPOSITORY = ResourceType(
    pulumi_type="aws:ecr/repository:Repository",
    inputs={
        "encryptionConfigurations": blocks(
            {"encryptionType": text(), "kmsKey": text(computed=True)}, replaces=True, computed=True
        ),
        "forceDelete": boolean(),
        "imageScanningConfiguration": block({"scanOnPush": boolean(required=True)}, computed=True),
        "imageTagMutability": text(default="MUTABLE"),
        "name": text(required=True, replaces=True),
        "tags": TAGS,
    },
    outputs=("arn", "registryId", "repositoryUrl", "tagsAll"),
    auto_name=AutoName(prefix_attribute=None, max_length=256, lower=True),
    create=_create_repository,
    read=_read_repository,
    update=_update_repository,
    delete=_delete_repository,
)
