"""What a machine finds about itself in the metadata service (paths as in EC2's user guide)."""

from __future__ import annotations

import base64
import json
import secrets
from datetime import UTC, datetime, timedelta
from typing import Any

from local_cloud.cloud import Cloud
from local_cloud.errors import AwsError
from local_cloud.machines.contract import InstanceMetadata
from local_cloud.services.ec2_model import Instance, instances

#: Role credentials on a machine live this long; a new set is made when half an hour is left.
CREDENTIALS_LIVE = timedelta(hours=6)
CREDENTIALS_RENEWED = timedelta(minutes=30)


def metadata_of(cloud: Cloud, instance_id: str) -> InstanceMetadata | None:
    """The tree for one machine now; None for a machine that is not known or has no metadata."""
    instance = instances(cloud).get(instance_id)
    if instance is None or instance.state == "terminated":
        return None
    options = instance.view["MetadataOptions"]
    if options["HttpEndpoint"] == "disabled":
        return None
    return InstanceMetadata(
        tree=_tree(cloud, instance),
        user_data=base64.b64decode(instance.user_data) if instance.user_data else None,
        tokens_required=options["HttpTokens"] == "required",
        hop_limit=options["HttpPutResponseHopLimit"],
    )


def _tree(cloud: Cloud, instance: Instance) -> dict[str, str]:
    view = instance.view
    zone = view["Placement"]["AvailabilityZone"]
    interface = view["NetworkInterfaces"][0]
    of_interface = f"network/interfaces/macs/{interface['MacAddress']}"
    found = {
        "instance-id": instance.id,
        "ami-id": view["ImageId"],
        "ami-launch-index": str(view["AmiLaunchIndex"]),
        "instance-type": view["InstanceType"],
        "instance-action": "none",
        "instance-life-cycle": view.get("InstanceLifecycle", "on-demand"),
        "placement/region": instance.region,
        "placement/availability-zone": zone,
        "local-ipv4": view["PrivateIpAddress"],
        "local-hostname": view["PrivateDnsName"],
        "hostname": view["PrivateDnsName"],
        "mac": interface["MacAddress"],
        "reservation-id": instance.reservation_id,
        "security-groups": "\n".join(group["GroupName"] for group in view["SecurityGroups"]),
        "services/domain": "amazonaws.com",
        "services/partition": "aws",
        "block-device-mapping/ami": view["RootDeviceName"],
        "block-device-mapping/root": view["RootDeviceName"],
        f"{of_interface}/mac": interface["MacAddress"],
        f"{of_interface}/interface-id": interface["NetworkInterfaceId"],
        f"{of_interface}/subnet-id": interface["SubnetId"],
        f"{of_interface}/vpc-id": interface["VpcId"],
        f"{of_interface}/local-ipv4s": view["PrivateIpAddress"],
        f"{of_interface}/owner-id": instance.account,
        f"{of_interface}/device-number": "0",
    }
    if view.get("PublicIpAddress"):
        found["public-ipv4"] = view["PublicIpAddress"]
    if instance.public_key:
        found["public-keys"] = f"0={view['KeyName']}"
        found["public-keys/0/openssh-key"] = instance.public_key + "\n"
    if view["MetadataOptions"]["InstanceMetadataTags"] == "enabled":
        found |= {f"tags/instance/{key}": value for key, value in instance.tags.items()}
    action = cloud.store.table("ec2 spot notices").get(instance.id)
    if action:
        found["spot/instance-action"] = json.dumps(action)
        if action["action"] == "terminate":
            found["spot/termination-time"] = action["time"]
    recommended = cloud.store.table("ec2 rebalance recommendations").get(instance.id)
    if recommended:
        notice = json.dumps({"noticeTime": recommended})
        found["events/recommendations/rebalance"] = notice
    found |= _role_part(cloud, instance)
    tree = {f"meta-data/{path}": text for path, text in found.items()}
    tree["dynamic/instance-identity/document"] = json.dumps(_document(instance), indent=2)
    return tree


def _document(instance: Instance) -> dict[str, Any]:
    view = instance.view
    return {
        "accountId": instance.account, "architecture": view["Architecture"],
        "availabilityZone": view["Placement"]["AvailabilityZone"], "billingProducts": None,
        "devpayProductCodes": None, "marketplaceProductCodes": None, "imageId": view["ImageId"],
        "instanceId": instance.id, "instanceType": view["InstanceType"], "kernelId": None,
        "pendingTime": view["LaunchTime"].strftime("%Y-%m-%dT%H:%M:%SZ"),
        "privateIp": view["PrivateIpAddress"], "ramdiskId": None, "region": instance.region,
        "version": "2017-09-30",
    }  # fmt: skip


def _role_part(cloud: Cloud, instance: Instance) -> dict[str, str]:
    """The profile's role and its credentials, where the machine has a profile with a role."""
    profile = instance.view.get("IamInstanceProfile")
    if not profile:
        return {}
    info = {
        "Code": "Success", "LastUpdated": _text(datetime.now(UTC)),
        "InstanceProfileArn": profile["Arn"], "InstanceProfileId": profile["Id"],
    }  # fmt: skip
    found = {"iam/info": json.dumps(info, indent=2)}
    try:
        roles = cloud.moto.invoke(
            "iam", "GetInstanceProfile",
            {"InstanceProfileName": profile["Arn"].rsplit("/", 1)[-1]},
            region=instance.region, account=instance.account,
        )["InstanceProfile"]["Roles"]  # fmt: skip
    except AwsError:
        return found
    for role in roles[:1]:
        credentials = role_credentials(cloud, instance, role["Arn"])
        found[f"iam/security-credentials/{role['RoleName']}"] = json.dumps(credentials, indent=2)
    return found


def role_credentials(cloud: Cloud, instance: Instance, role_arn: str) -> dict[str, str]:
    """The machine's current credentials of the role, renewed before they expire."""
    table = cloud.store.table("ec2 role credentials")
    moment = datetime.now(UTC)
    with cloud.store.lock:
        held = table.get((instance.id, role_arn))
        if held is not None and held[0] - moment > CREDENTIALS_RENEWED:
            return dict(held[1])
        assumed = cloud.moto.invoke(
            "sts", "AssumeRole",
            {"RoleArn": role_arn, "RoleSessionName": instance.id, "DurationSeconds": 3600},
            region=instance.region, account=instance.account,
        )["Credentials"]  # fmt: skip
        expires = moment + CREDENTIALS_LIVE
        credentials = {
            "Code": "Success", "LastUpdated": _text(moment), "Type": "AWS-HMAC",
            "AccessKeyId": assumed["AccessKeyId"],
            "SecretAccessKey": assumed["SecretAccessKey"],
            "Token": assumed.get("SessionToken") or secrets.token_urlsafe(64),
            "Expiration": _text(expires),
        }  # fmt: skip
        table[(instance.id, role_arn)] = (expires, credentials)
        return dict(credentials)


def _text(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
