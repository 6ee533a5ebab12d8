"""What in the account refers to an image: machines, launch templates, parameters."""

from __future__ import annotations

from collections.abc import Iterator

from local_cloud.call import Call, Params, handles
from local_cloud.errors import AwsError
from local_cloud.services.ec2_filters import page
from local_cloud.services.ec2_model import instances, mine, refuse_dry_run
from local_cloud.services.ec2_network import moto_ec2
from local_cloud.services.ec2_template_versions import versions_of

STATES = ("pending", "running", "shutting-down", "terminated", "stopping", "stopped")
VERSIONS = "10"
"""How many of a template's newest versions are looked at, unless more are asked for."""
OPTIONS = {"ec2:Instance": ("state-name", STATES), "ec2:LaunchTemplate": ("version-depth", ())}


@handles("ec2", "DescribeImageReferences")
def describe_image_references(call: Call) -> Params:
    """One entry for each resource, as in the user guide ("How AMI reference checks work").

    Recipes of Image Builder are looked for among none: this cloud has no Image Builder.
    """
    ask = call.params
    asked = {one["ResourceType"]: _options(one) for one in ask.get("ResourceTypes", [])}
    if not asked and not ask.get("IncludeAllResourceTypes"):
        raise AwsError("MissingParameter", "Specify IncludeAllResourceTypes or ResourceTypes.")
    refuse_dry_run(call)
    wanted = set(ask["ImageIds"])
    everything = bool(ask.get("IncludeAllResourceTypes"))
    found: list[tuple[str, str, str]] = []
    if everything or "ec2:Instance" in asked:
        found += _machines(call, wanted, asked.get("ec2:Instance") or STATES)
    if everything or "ec2:LaunchTemplate" in asked:
        depth = (asked.get("ec2:LaunchTemplate") or (VERSIONS,))[0]
        found += _templates(call, wanted, int(depth))
    if everything or "ssm:Parameter" in asked:
        found += _parameters(call, wanted)
    references = [
        {"ImageId": image, "ResourceType": kind, "Arn": arn}
        for image, kind, arn in dict.fromkeys(found)
    ]
    return page(call, references, "ImageReferences")


def _options(request: Params) -> tuple[str, ...]:
    """The values of the type's one option; empty where it is not given."""
    kind = request["ResourceType"]
    name, known = OPTIONS.get(kind, ("", ()))
    values: tuple[str, ...] = ()
    for option in request.get("ResourceTypeOptions", []):
        values = tuple(option.get("OptionValues", []))
        in_depth = all(v.isdigit() and 1 <= int(v) <= 10_000 for v in values)
        if option.get("OptionName") != name or not (set(values) <= set(known) or in_depth):
            raise AwsError(
                "InvalidParameterValue",
                f"{option.get('OptionName')} {list(values)} is not valid for {kind}",
            )
    return values


def _machines(
    call: Call, wanted: set[str], states: tuple[str, ...]
) -> Iterator[tuple[str, str, str]]:
    for one in mine(call, instances(call.cloud)):
        if one.view["ImageId"] in wanted and one.state in states:
            arn = f"arn:aws:ec2:{call.region}:{call.account}:instance/{one.id}"
            yield one.view["ImageId"], "ec2:Instance", arn


def _templates(call: Call, wanted: set[str], depth: int) -> list[tuple[str, str, str]]:
    arn = f"arn:aws:ec2:{call.region}:{call.account}:launch-template"
    with moto_ec2(call.cloud, call.region, call.account) as backend:
        return [
            (version.data["ImageId"], "ec2:LaunchTemplate", f"{arn}/{template.id}")
            for template in backend.launch_templates.values()
            for version in versions_of(template)[-depth:]
            if version.data.get("ImageId") in wanted
        ]


def _parameters(call: Call, wanted: set[str]) -> list[tuple[str, str, str]]:
    """The account's parameters whose value is the image's ID."""
    arn = f"arn:aws:ssm:{call.region}:{call.account}:parameter"
    found = []
    token: Params = {}
    while True:
        asked = {"MaxResults": 50} | token
        listed = call.moto(asked, service="ssm", action="DescribeParameters")
        for one in listed["Parameters"]:
            known = call.moto({"Name": one["Name"]}, service="ssm", action="GetParameter")
            value = known["Parameter"]["Value"]
            if value in wanted:
                found.append((value, "ssm:Parameter", f"{arn}/{one['Name'].lstrip('/')}"))
        if not listed.get("NextToken"):
            return found
        token = {"NextToken": listed["NextToken"]}
