"""A launch over its launch template's data."""

from __future__ import annotations

from typing import Any

from local_cloud.call import Call, Params
from local_cloud.errors import AwsError
from local_cloud.services.ec2_network import moto_ec2


def with_template(call: Call, params: Params) -> tuple[Params, dict[str, str]]:
    """The parameters over their launch template's data, and the tags AWS adds for the template."""
    named = params.get("LaunchTemplate")
    if not named:
        return params, {}
    if bool(named.get("LaunchTemplateId")) == bool(named.get("LaunchTemplateName")):
        raise AwsError(
            "InvalidParameterCombination",
            "Specify either the launch template's ID or its name, not both",
        )
    with moto_ec2(call.cloud, call.region, call.account) as backend:
        template = _find_template(backend, named)
        version = named.get("Version") or "$Default"
        if version not in ("$Latest", "$Default") and not (
            version.isdigit() and 1 <= int(version) <= len(template.versions)
        ):
            raise AwsError(
                "InvalidLaunchTemplateId.VersionNotFound",
                f"Could not find the specified version {version} for the launch template with ID"
                f" {template.id}.",
            )
        chosen = template.get_version(version)
        data = {key: value for key, value in chosen.data.items() if value is not None}
        number = chosen.number
    merged = data | {key: value for key, value in params.items() if key != "LaunchTemplate"}
    if data.get("UserData") is not None and "UserData" not in params:
        merged["UserData"] = str(data["UserData"])
    if "NetworkInterfaces" in params or "SubnetId" in params:
        kept = params.get("NetworkInterfaces")
        merged["NetworkInterfaces"] = kept if kept is not None else []
        if kept is None and data.get("NetworkInterfaces"):
            merged["NetworkInterfaces"] = [dict(data["NetworkInterfaces"][0])]
            merged["NetworkInterfaces"][0].pop("SubnetId", None)
    given = {spec["ResourceType"] for spec in params.get("TagSpecifications", [])}
    merged["TagSpecifications"] = list(params.get("TagSpecifications", [])) + [
        spec
        for spec in data.get("TagSpecifications", [])
        if spec["ResourceType"] not in given and spec["ResourceType"] != "launch-template"
    ]
    return merged, {
        "aws:ec2launchtemplate:id": template.id,
        "aws:ec2launchtemplate:version": str(number),
    }


def _find_template(backend: Any, named: Params) -> Any:
    wanted_id, wanted_name = named.get("LaunchTemplateId"), named.get("LaunchTemplateName")
    for template in backend.launch_templates.values():
        if wanted_id in (None, template.id) and wanted_name in (None, template.name):
            return template
    if wanted_id:
        raise AwsError(
            "InvalidLaunchTemplateId.NotFound",
            f"The specified launch template, with template ID {wanted_id}, does not exist.",
        )
    raise AwsError(
        "InvalidLaunchTemplateName.NotFoundException",
        f"The specified launch template, with template name {wanted_name}, does not exist.",
    )
