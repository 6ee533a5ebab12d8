"""Where moto's launch templates differ from AWS's: tags, filters, pages, what is gone."""

from __future__ import annotations

from dataclasses import replace

from local_cloud.call import Call, Params, handles
from local_cloud.errors import AwsError
from local_cloud.services.ec2_filters import filtered, page

VERSION_FIELDS = {
    "image-id": "LaunchTemplateData.ImageId",
    "instance-type": "LaunchTemplateData.InstanceType",
    "is-default-version": "DefaultVersion",
    "create-time": "CreateTime",
}
MOST = 200
"""Versions on one page."""


@handles("ec2", "CreateLaunchTemplate")
def create(call: Call) -> Params:
    """moto would put the template's tags into what it launches; they are set afterwards instead."""
    params = {key: value for key, value in call.params.items() if key != "TagSpecifications"}
    template: Params = call.moto(params)["LaunchTemplate"]
    tags = [
        tag
        for specification in call.params.get("TagSpecifications") or []
        for tag in specification.get("Tags") or []
    ]
    if tags:
        resources = [template["LaunchTemplateId"]]
        call.moto({"Resources": resources, "Tags": tags}, action="CreateTags")
    return {"LaunchTemplate": template | {"Tags": tags}}


@handles("ec2", "DescribeLaunchTemplates")
def describe(call: Call) -> Params:
    """With the tags as they are now (moto shows those of the creation), and no unknown ones."""
    answer = call.moto()
    found = {template["LaunchTemplateId"] for template in answer["LaunchTemplates"]}
    for template_id in call.params.get("LaunchTemplateIds") or ():
        if template_id not in found:
            raise _no_such_id(template_id)
    named = {template["LaunchTemplateName"] for template in answer["LaunchTemplates"]}
    if set(call.params.get("LaunchTemplateNames") or ()) - named:
        raise AwsError(
            "InvalidLaunchTemplateName.NotFoundException",
            "At least one of the launch templates specified in the request does not exist.",
        )
    for template in answer["LaunchTemplates"]:
        template["Tags"] = _tags(call, template["LaunchTemplateId"])
    return answer


@handles("ec2", "DescribeLaunchTemplateVersions")
def describe_versions(call: Call) -> Params:
    """With filters and pages, which moto does not have."""
    ours = ("Filters", "MaxResults", "NextToken", "ResolveAlias")
    asked = {key: value for key, value in call.params.items() if key not in ours}
    found = call.moto(asked | {"MaxResults": 10_000})["LaunchTemplateVersions"]
    named = call.params.get("Versions")
    if not named:
        found.sort(key=lambda version: version["VersionNumber"], reverse=True)
    kept = filtered(call, found, VERSION_FIELDS, call.action)
    paged = replace(call, params={"MaxResults": MOST} | call.params)
    return page(paged, kept, "LaunchTemplateVersions")


@handles("ec2", "DeleteLaunchTemplate")
def delete(call: Call) -> Params:
    template_id = call.params.get("LaunchTemplateId")
    if template_id:
        asked = {"LaunchTemplateIds": [template_id]}
        if not call.moto(asked, action="DescribeLaunchTemplates")["LaunchTemplates"]:
            raise _no_such_id(template_id)
    return call.moto()


def _no_such_id(template_id: str) -> AwsError:
    return AwsError(
        "InvalidLaunchTemplateId.NotFound",
        f"The specified launch template, with template ID {template_id}, does not exist.",
    )


def _tags(call: Call, template_id: str) -> list[Params]:
    only = [{"Name": "resource-id", "Values": [template_id]}]
    found = call.moto({"Filters": only}, action="DescribeTags")["Tags"]
    return [{"Key": tag["Key"], "Value": tag["Value"]} for tag in found]
