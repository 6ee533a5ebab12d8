"""Where moto's launch templates differ from AWS's: their own tags, and templates that are gone."""

from __future__ import annotations

from local_cloud.call import Call, Params, handles
from local_cloud.errors import AwsError


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
