"""`aws:ec2/launchTemplate:LaunchTemplate`: a change of what it launches is a new version."""

from __future__ import annotations

from collections.abc import Iterable

from local_cloud.pulumi_plugin.aws import Account, error_code
from local_cloud.pulumi_plugin.fields import (
    block,
    blocks,
    boolean,
    flag,
    from_api,
    mapping,
    text,
    text_set,
    to_api,
    whole,
)
from local_cloud.pulumi_plugin.resource_type import TAGS, AutoName, ResourceType
from local_cloud.pulumi_plugin.types.tagging import (
    ec2_tag_specification,
    full_name,
    tag_list,
    tag_map,
    update_ec2_tags,
)
from local_cloud.pulumi_plugin.values import Props

_EBS = {
    "deleteOnTermination": flag(),
    "encrypted": flag(),
    "iops": whole(computed=True),
    "kmsKeyId": text(),
    "snapshotId": text(),
    "throughput": whole(computed=True),
    "volumeInitializationRate": whole(),
    "volumeSize": whole(computed=True),
    "volumeType": text(computed=True),
}
_NETWORK_INTERFACE = {
    "associatePublicIpAddress": flag(),
    "deleteOnTermination": flag(),
    "description": text(),
    "deviceIndex": whole(),
    "networkInterfaceId": text(),
    "privateIpAddress": text(),
    "securityGroups": text_set(api="Groups"),
    "subnetId": text(),
}
_METADATA_OPTIONS = {
    "httpEndpoint": text(computed=True),
    "httpProtocolIpv6": text(computed=True),
    "httpPutResponseHopLimit": whole(computed=True),
    "httpTokens": text(computed=True),
    "instanceMetadataTags": text(computed=True),
}
#: What a version holds (EC2's `LaunchTemplateData`).
_DATA = {
    "blockDeviceMappings": blocks(
        {
            "deviceName": text(),
            "ebs": block(_EBS),
            "noDevice": text(),
            "virtualName": text(),
        }
    ),
    "cpuOptions": block({"coreCount": whole(), "threadsPerCore": whole()}),
    "creditSpecification": block({"cpuCredits": text()}),
    "disableApiStop": boolean(),
    "disableApiTermination": boolean(),
    "ebsOptimized": flag(),
    "iamInstanceProfile": block({"arn": text(), "name": text()}),
    "imageId": text(),
    "instanceInitiatedShutdownBehavior": text(),
    "instanceMarketOptions": block(
        {
            "marketType": text(),
            "spotOptions": block(
                {
                    "instanceInterruptionBehavior": text(),
                    "maxPrice": text(),
                    "spotInstanceType": text(),
                }
            ),
        }
    ),
    "instanceType": text(),
    "keyName": text(),
    "maintenanceOptions": block({"autoRecovery": text()}),
    "metadataOptions": block(_METADATA_OPTIONS, computed=True),
    "monitoring": block({"enabled": boolean()}),
    "networkInterfaces": blocks(_NETWORK_INTERFACE),
    "placement": block({"availabilityZone": text(), "groupName": text(), "tenancy": text()}),
    "securityGroupNames": text_set(api="SecurityGroups"),
    "tagSpecifications": blocks({"resourceType": text(), "tags": mapping(api="")}),
    "userData": text(),
    "vpcSecurityGroupIds": text_set(api="SecurityGroupIds"),
}
#: A change of any of these makes a version.
_OF_A_VERSION = {*_DATA, "description"}


def _data(news: Props) -> Props:
    data = to_api(_DATA, news, "pascal")
    specifications = news.get("tagSpecifications") or []
    for sent, given in zip(data.get("TagSpecifications", []), specifications, strict=True):
        sent["Tags"] = tag_list(given.get("tags"))
    # EC2 wants at least one field; the real provider sends empty user data then.
    return data or {"UserData": ""}


def _create(account: Account, news: Props) -> str:
    answer = account.client("ec2").create_launch_template(
        LaunchTemplateName=full_name(news),
        LaunchTemplateData=_data(news),
        **({"VersionDescription": news["description"]} if news.get("description") else {}),
        **_tag_argument(news),
    )
    return str(answer["LaunchTemplate"]["LaunchTemplateId"])


def _tag_argument(news: Props) -> Props:
    specification = ec2_tag_specification("launch-template", news.get("tags"))
    return {"TagSpecifications": specification} if specification else {}


def _read(account: Account, resource_id: str, state: Props) -> Props | None:
    ec2 = account.client("ec2")
    try:
        template = ec2.describe_launch_templates(LaunchTemplateIds=[resource_id])[
            "LaunchTemplates"
        ][0]
    except Exception as error:
        if error_code(error) in (
            "InvalidLaunchTemplateId.NotFound",
            "InvalidLaunchTemplateId.Malformed",
        ):
            return None
        raise
    latest = template["LatestVersionNumber"]
    version = ec2.describe_launch_template_versions(
        LaunchTemplateId=resource_id, Versions=[str(latest)]
    )["LaunchTemplateVersions"][0]
    data = version["LaunchTemplateData"]
    seen = from_api(_DATA, data, "pascal")
    for told, answered in zip(
        seen.get("tagSpecifications", []), data.get("TagSpecifications", []), strict=True
    ):
        told["tags"] = tag_map(answered.get("Tags"))
    return {
        **{key: value for key, value in seen.items() if value not in ([], {}, "")},
        "arn": f"arn:{account.partition}:ec2:{account.region}:{account.account_id()}"
        f":launch-template/{resource_id}",
        "name": template["LaunchTemplateName"],
        "description": version.get("VersionDescription"),
        "defaultVersion": template["DefaultVersionNumber"],
        "latestVersion": latest,
        "tags": tag_map(template.get("Tags")),
        "region": account.region,
    }


def _update(
    account: Account, resource_id: str, olds: Props, news: Props, changed: frozenset[str]
) -> Props:
    ec2 = account.client("ec2")
    latest = olds.get("latestVersion")
    if changed & _OF_A_VERSION:
        answer = ec2.create_launch_template_version(
            LaunchTemplateId=resource_id,
            LaunchTemplateData=_data(news),
            **({"VersionDescription": news["description"]} if news.get("description") else {}),
        )
        latest = answer["LaunchTemplateVersion"]["VersionNumber"]
    default = news.get("defaultVersion") if "defaultVersion" in changed else None
    default = latest if news.get("updateDefaultVersion") else default
    if default and default != olds.get("defaultVersion"):
        ec2.modify_launch_template(LaunchTemplateId=resource_id, DefaultVersion=str(default))
    update_ec2_tags(ec2, resource_id, olds, news)
    return {}


def _delete(account: Account, resource_id: str, state: Props) -> None:
    try:
        account.client("ec2").delete_launch_template(LaunchTemplateId=resource_id)
    except Exception as error:
        if error_code(error) != "InvalidLaunchTemplateId.NotFound":
            raise


def _unsettled(news: Props, changed: Iterable[str]) -> frozenset[str]:
    if not set(changed) & _OF_A_VERSION:
        return frozenset()
    moves = news.get("updateDefaultVersion")
    return frozenset({"latestVersion", "defaultVersion"} if moves else {"latestVersion"})


LAUNCH_TEMPLATE = ResourceType(
    pulumi_type="aws:ec2/launchTemplate:LaunchTemplate",
    inputs={
        "name": text(replaces=True, computed=True),
        "namePrefix": text(replaces=True, computed=True),
        "description": text(),
        "defaultVersion": whole(computed=True),
        "updateDefaultVersion": boolean(),
        "tags": TAGS,
        **_DATA,
    },
    outputs=("arn", "latestVersion", "tagsAll"),
    conflicts=(("name", "namePrefix"), ("defaultVersion", "updateDefaultVersion")),
    auto_name=AutoName(max_length=125),
    create=_create,
    read=_read,
    update=_update,
    delete=_delete,
    unsettled=_unsettled,
)
