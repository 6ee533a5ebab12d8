"""What faults may choose by: the type, zone, market, template and tags of a machine."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from local_cloud.call import Call, Params
from local_cloud.cloud import Cloud
from local_cloud.errors import AwsError
from local_cloud.faults import Facts, tells_facts
from local_cloud.services.ec2_launch import Launch
from local_cloud.services.ec2_launch_template import with_template
from local_cloud.services.ec2_model import Instance, instances
from local_cloud.services.ec2_network import find_subnet, moto_ec2

TEMPLATE_TAG = "aws:ec2launchtemplate:id"


def facts_of_launch(call: Call, launch: Launch) -> Facts:
    """Of a launch whose template is merged and that was checked."""
    asked = launch.asked
    return {
        "instance_type": launch.instance_type,
        "zone": launch.subnet["AvailabilityZone"],
        "subnet": launch.subnet["SubnetId"],
        "spot": launch.spot is not None,
        "image": launch.image.id,
        "template": _template_names(call.cloud, call, launch.template.get(TEMPLATE_TAG)),
        "region": call.region,
        **_tag_facts(asked),
    }


def facts_of_machine(cloud: Cloud, instance: Instance) -> Facts:
    """Of a machine as it is now."""
    view = instance.view
    return {
        "machine": instance.id,
        "instance_type": view["InstanceType"],
        "zone": view["Placement"]["AvailabilityZone"],
        "subnet": view.get("SubnetId"),
        "spot": view.get("InstanceLifecycle") == "spot",
        "image": view["ImageId"],
        "template": _template_names(cloud, instance, instance.tags.get(TEMPLATE_TAG)),
        "region": instance.region,
        **{f"tag:{key}": value for key, value in instance.tags.items()},
    }


def machines_of(cloud: Cloud, params: Params, result: Params | None = None) -> list[Instance]:
    """The machines that a call's parameters name, or its result."""
    table = instances(cloud)
    found = dict.fromkeys(_ids(params)) | dict.fromkeys(_ids(result or {}))
    return [table[one] for one in found if one in table]


def _ids(thing: Any) -> Iterator[str]:
    if isinstance(thing, str):
        if thing.startswith("i-"):
            yield thing
    elif isinstance(thing, dict):
        for name, value in thing.items():
            if name not in ("UserData", "Parameters"):
                yield from _ids(value)
    elif isinstance(thing, list):
        for one in thing:
            yield from _ids(one)


@tells_facts
def tell_facts(call: Call) -> list[Facts]:
    """Of the launch that a call asks for, as far as it can be told, or of the machines it names."""
    if (call.service, call.action) == ("ec2", "RunInstances"):
        return [_facts_of_asked(call)]
    if call.service not in ("ec2", "ssm"):
        return []
    return [facts_of_machine(call.cloud, one) for one in machines_of(call.cloud, call.params)]


def _facts_of_asked(call: Call) -> Facts:
    """A launch that may yet be refused: what cannot be found is left out."""
    asked, subnet = call.params, Params()
    template: dict[str, str] = {}
    try:
        asked, template = with_template(call, call.params)
        interfaces = asked.get("NetworkInterfaces") or [{}]
        zone = asked.get("Placement", {}).get("AvailabilityZone")
        subnet = find_subnet(call, asked.get("SubnetId") or interfaces[0].get("SubnetId"), zone)
    except AwsError:
        pass
    market = asked.get("InstanceMarketOptions") or {}
    return {
        "instance_type": asked.get("InstanceType", "m1.small"),
        "zone": subnet.get("AvailabilityZone"),
        "subnet": subnet.get("SubnetId"),
        "spot": market.get("MarketType") == "spot",
        "image": asked.get("ImageId"),
        "template": _template_names(call.cloud, call, template.get(TEMPLATE_TAG)),
        "region": call.region,
        **_tag_facts(asked),
    }


def _template_names(cloud: Cloud, owner: Call | Instance, template_id: str | None) -> list[str]:
    """A template is chosen by its ID or by its name."""
    if template_id is None:
        return []
    with moto_ec2(cloud, owner.region, owner.account) as backend:
        found = backend.launch_templates.get(template_id)
        return [template_id, *([str(found.name)] if found is not None else [])]


def _tag_facts(asked: Params) -> dict[str, str]:
    return {
        f"tag:{tag['Key']}": tag.get("Value", "")
        for one in asked.get("TagSpecifications", [])
        if one.get("ResourceType") == "instance"
        for tag in one.get("Tags", [])
    }
