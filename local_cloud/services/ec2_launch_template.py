"""A launch over its launch template's data."""

from __future__ import annotations

from local_cloud.call import Call, Params
from local_cloud.services.ec2_network import moto_ec2
from local_cloud.services.ec2_template_versions import find_template, get_version


def with_template(call: Call, params: Params) -> tuple[Params, dict[str, str]]:
    """The parameters over their launch template's data, and the tags AWS adds for the template."""
    named = params.get("LaunchTemplate")
    if not named:
        return params, {}
    with moto_ec2(call.cloud, call.region, call.account) as backend:
        template = find_template(backend, named)
        chosen = get_version(template, named.get("Version") or "$Default")
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
