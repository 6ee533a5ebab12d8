"""Tags of every EC2 resource: ours on our records, the rest in moto."""

from __future__ import annotations

from collections.abc import Mapping

from local_cloud.call import Call, Params, handles
from local_cloud.errors import AwsError
from local_cloud.services.ec2_filters import filtered, page
from local_cloud.services.ec2_model import (
    Resource,
    check_tags,
    images,
    instances,
    is_found,
    mine,
    refuse_dry_run,
    snapshots,
    spot_requests,
    volumes,
)
from local_cloud.services.visibility import hide_new, seen_tags

KINDS = {"i": "instance", "vol": "volume", "snap": "snapshot", "ami": "image",
         "sir": "spot-instances-request"}  # fmt: skip
NOT_FOUND = {
    "i": ("InvalidInstanceID.NotFound", "The instance ID '{}' does not exist"),
    "vol": ("InvalidVolume.NotFound", "The volume '{}' does not exist."),
    "snap": ("InvalidSnapshot.NotFound", "The snapshot '{}' does not exist."),
    "ami": ("InvalidAMIID.NotFound", "The image id '[{}]' does not exist"),
    "sir": (
        "InvalidSpotInstanceRequestID.NotFound",
        "The spot instance request ID '{}' does not exist",
    ),
}


def _tables(call: Call) -> dict[str, Mapping[str, Resource]]:
    cloud = call.cloud
    return {
        "i": instances(cloud),
        "vol": volumes(cloud),
        "snap": snapshots(cloud),
        "ami": images(cloud),
        "sir": spot_requests(cloud),
    }


def _split(call: Call) -> tuple[list[Resource], list[str]]:
    """Our own resources among the call's, and moto's IDs. Raises for one that is not there."""
    tables = _tables(call)
    own, rest = [], []
    for resource_id in call.params["Resources"]:
        prefix = resource_id.split("-")[0]
        if prefix not in tables:
            rest.append(resource_id)
            continue
        resource = tables[prefix].get(resource_id)
        if resource is None or not is_found(call, resource):
            code, message = NOT_FOUND[prefix]
            raise AwsError(code, message.format(resource_id))
        own.append(resource)
    return own, rest


@handles("ec2", "CreateTags")
def create_tags(call: Call) -> Params:
    given = {tag["Key"]: tag.get("Value", "") for tag in call.params["Tags"]}
    check_tags(given)
    own, rest = _split(call)
    refuse_dry_run(call)
    with call.cloud.store.lock:
        for resource in own:
            ours = {k: v for k, v in resource.tags.items() if not k.startswith("aws:")}
            check_tags(ours | given)
        if rest:
            call.moto(call.params | {"Resources": rest})
        for resource in own:
            before = dict(resource.tags)
            resource.tags.update(given)
            hide_new(call, "tags", resource.id, given, before=before)
    return {}


@handles("ec2", "DeleteTags")
def delete_tags(call: Call) -> Params:
    own, rest = _split(call)
    refuse_dry_run(call)
    with call.cloud.store.lock:
        if rest:
            call.moto(call.params | {"Resources": rest})
        for resource in own:
            asked = call.params.get("Tags")
            if asked is None:
                asked = [{"Key": key} for key in resource.tags if not key.startswith("aws:")]
            for tag in asked:
                if "Value" not in tag or resource.tags.get(tag["Key"]) == tag["Value"]:
                    resource.tags.pop(tag["Key"], None)
    return {}


@handles("ec2", "DescribeTags")
def describe_tags(call: Call) -> Params:
    found = [
        {"ResourceId": one.id, "ResourceType": KINDS[prefix], "Key": key, "Value": value}
        for prefix, table in _tables(call).items()
        for one in mine(call, table)
        for key, value in seen_tags(call, one.id, one.tags).items()
    ]
    found += call.moto({}, action="DescribeTags")["Tags"]
    fields = {"key": "Key", "value": "Value", "resource-id": "ResourceId",
              "resource-type": "ResourceType"}  # fmt: skip
    return page(call, filtered(call, found, fields, "DescribeTags"), "Tags")
