"""Where moto's launch templates differ from AWS's: tags, filters, pages, what is gone."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from local_cloud.call import Call, Params, handles
from local_cloud.services.ec2_filters import filtered, page
from local_cloud.services.ec2_network import moto_ec2
from local_cloud.services.ec2_template_versions import (
    find_template,
    get_version,
    no_such_id,
    no_such_name,
    versions_of,
)

FIELDS = {"launch-template-name": "LaunchTemplateName", "create-time": "CreateTime"}
VERSION_FIELDS = {
    "image-id": "LaunchTemplateData.ImageId",
    "instance-type": "LaunchTemplateData.InstanceType",
    "is-default-version": "DefaultVersion",
    "create-time": "CreateTime",
}
ALL = 10_000
MOST = 200
"""Templates or versions on one page."""


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
    found = call.moto({"MaxResults": ALL})["LaunchTemplates"]
    for wanted, field, refusal in (
        (call.params.get("LaunchTemplateIds"), "LaunchTemplateId", no_such_id),
        (call.params.get("LaunchTemplateNames"), "LaunchTemplateName", no_such_name),
    ):
        for missing in [one for one in wanted or () if one not in [t[field] for t in found]]:
            raise refusal(missing)
        found = [one for one in found if not wanted or one[field] in wanted]
    shown = [_as_it_is_now(call, template) for template in found]
    return _paged(call, filtered(call, shown, FIELDS, call.action), "LaunchTemplates")


@handles("ec2", "DescribeLaunchTemplateVersions")
def describe_versions(call: Call) -> Params:
    """With filters and pages, which moto does not have; newest first unless versions are named."""
    asked, wanted = call.params, call.params.get("Versions") or []
    named = bool(asked.get("LaunchTemplateId") or asked.get("LaunchTemplateName"))
    with moto_ec2(call.cloud, call.region, call.account) as backend:
        if not named:
            call.moto({"Versions": wanted})  # its error, unless only $Latest and $Default
        templates = [find_template(backend, asked)] if named else backend.launch_templates.values()
        found = [one for template in templates for one in _chosen(call, template, wanted)]
    return _paged(
        call, filtered(call, found, VERSION_FIELDS, call.action), "LaunchTemplateVersions"
    )


def _chosen(call: Call, template: Any, wanted: list[str]) -> list[Params]:
    """The versions of one template that are asked for."""
    first, last = call.params.get("MinVersion") or 0, call.params.get("MaxVersion") or ALL
    if wanted:
        numbers = [get_version(template, one).number for one in wanted]
    else:
        numbers = [
            one.number for one in reversed(versions_of(template)) if first <= one.number <= last
        ]
    only = {"LaunchTemplateId": template.id, "MaxResults": ALL}
    shown = {one["VersionNumber"]: one for one in call.moto(only)["LaunchTemplateVersions"]}
    return [shown[number] for number in dict.fromkeys(numbers)]


@handles("ec2", "ModifyLaunchTemplate")
def modify(call: Call) -> Params:
    with moto_ec2(call.cloud, call.region, call.account) as backend:
        template = find_template(backend, call.params)
        get_version(template, call.params.get("DefaultVersion", ""))
        return {"LaunchTemplate": _as_it_is_now(call, call.moto()["LaunchTemplate"])}


@handles("ec2", "DeleteLaunchTemplate")
def delete(call: Call) -> Params:
    with moto_ec2(call.cloud, call.region, call.account) as backend:
        find_template(backend, call.params)
    return call.moto()


def _paged(call: Call, items: list[Params], key: str) -> Params:
    return page(replace(call, params={"MaxResults": MOST} | call.params), items, key)


def _as_it_is_now(call: Call, shown: Params) -> Params:
    """Its tags, and its latest version of those that are not deleted."""
    template_id = shown["LaunchTemplateId"]
    only = [{"Name": "resource-id", "Values": [template_id]}]
    tags = call.moto({"Filters": only}, action="DescribeTags")["Tags"]
    with moto_ec2(call.cloud, call.region, call.account) as backend:
        latest = versions_of(backend.launch_templates[template_id])[-1].number
    return shown | {
        "LatestVersionNumber": latest,
        "Tags": [{"Key": tag["Key"], "Value": tag["Value"]} for tag in tags],
    }
