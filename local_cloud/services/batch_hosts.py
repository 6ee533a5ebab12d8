"""Batch's machines: launched as an environment says, until their agent is in its cluster."""

from __future__ import annotations

import base64
import contextlib
import itertools
import time
from email import message_from_bytes
from email.mime.multipart import MIMEMultipart
from email.mime.text import MIMEText

from local_cloud.call import Call, Params
from local_cloud.cloud import Cloud
from local_cloud.errors import AwsError
from local_cloud.faults import before_effect
from local_cloud.jobs.orders import reply, script
from local_cloud.services import ec2_lifecycle
from local_cloud.services.batch_job_model import Host, hosts, wake
from local_cloud.services.batch_model import Environment, new_uuid
from local_cloud.services.batch_rules import UNUSABLE_TEMPLATE, UnfitError, missing_image
from local_cloud.services.ec2_base_images import public_parameters
from local_cloud.services.ec2_model import Instance, instances, now
from local_cloud.services.ec2_run import launch_as
from local_cloud.services.ecs import find_agent, forget_agent

#: Batch's own AMI for each image type, where nothing names another (user guide, "AMI selection").
DEFAULT_IMAGES = {
    "ECS_AL2023": "amazon-linux-2023",
    "ECS_AL2023_NVIDIA": "amazon-linux-2023/gpu",
}
#: Errors that say the launch can never work, so that the environment is INVALID.
HOPELESS = (
    "InvalidLaunchTemplateId.NotFound", "InvalidLaunchTemplateId.VersionNotFound",
    "InvalidLaunchTemplateName.NotFoundException", "InvalidSubnetID.NotFound",
    "InvalidGroup.NotFound", "InvalidParameterValue", "InvalidParameterCombination",
    "InvalidBlockDeviceMapping",
)  # fmt: skip
#: What Batch appends to the agent's settings (seen in its launch templates, aws-cdk issue 9900).
AGENT_SETTINGS = (
    "ECS_DISABLE_IMAGE_CLEANUP=false",
    "ECS_ENGINE_TASK_CLEANUP_WAIT_DURATION=2m",
    "ECS_IMAGE_CLEANUP_INTERVAL=10m",
    "ECS_IMAGE_MINIMUM_CLEANUP_AGE=10m",
    "ECS_NUM_IMAGES_DELETE_PER_CYCLE=5",
    "ECS_RESERVED_MEMORY=32",
    """ECS_AVAILABLE_LOGGING_DRIVERS='["json-file","awslogs"]'""",
)
CLOSED = ("shutting-down", "terminated", "stopping", "stopped")


class NoCapacityError(Exception):
    """EC2 has no machine now; the message says of what."""


def own_call(cloud: Cloud, account: str, region: str) -> Call:
    """A call that Batch makes by itself, for no request of a client."""
    return Call(cloud, "ec2", "RunInstances", {}, region, account, "", new_uuid())


def instance_of(cloud: Cloud, host: Host) -> Instance | None:
    return instances(cloud).get(host.instance_id)


def is_gone(cloud: Cloud, host: Host) -> bool:
    """Whether the machine ended or is ending, whoever ended it."""
    one = instance_of(cloud, host)
    return bool(host.instance_id) and (one is None or one.state in CLOSED)


def launch(cloud: Cloud, environment: Environment, host: Host) -> None:
    """Make the machine. Raises UnfitError or NoCapacityError, or AwsError to try again after."""
    subnets = environment.view["computeResources"]["subnets"]
    refusals: list[AwsError] = []
    turn = sum(ord(letter) for letter in host.key) % len(subnets)
    for subnet in itertools.islice(itertools.cycle(subnets), turn, turn + len(subnets)):
        try:
            made = _launch_in(cloud, environment, host, subnet)
        except AwsError as error:
            if error.code.startswith("InvalidAMIID."):
                raise missing_image(_image(cloud, environment, host)) from error
            if error.code in HOPELESS:
                raise UnfitError(f"{UNUSABLE_TEMPLATE} {error.message}") from error
            refusals.append(error)
            continue
        host.instance_id, host.launched = made.id, time.time()
        host.image_id = made.view["ImageId"]
        cloud.changed()
        ec2_lifecycle.boot_all(cloud, [made])
        return
    if all("InstanceCapacity" in one.code for one in refusals):
        raise NoCapacityError(host.type)
    raise refusals[0]


def _launch_in(cloud: Cloud, environment: Environment, host: Host, subnet: str) -> Instance:
    resources, launches = environment.view["computeResources"], environment.launches
    params: Params = {
        "ImageId": _image(cloud, environment, host),
        "InstanceType": host.type,
        "MinCount": 1,
        "MaxCount": 1,
        "IamInstanceProfile": _profile(resources["instanceRole"]),
        "SubnetId": subnet,
        "InstanceInitiatedShutdownBehavior": "terminate",
    }
    call = own_call(cloud, environment.account, environment.region)
    data: Params = {}
    if launches.get("launchTemplateId"):
        named = {
            "LaunchTemplateId": launches["launchTemplateId"],
            "Version": str(launches["launchTemplateVersion"]),
        }
        params["LaunchTemplate"] = named
        data = _template_data(call, named)
    if data.get("NetworkInterfaces"):
        del params["SubnetId"]
        params["NetworkInterfaces"] = [data["NetworkInterfaces"][0] | {"SubnetId": subnet}]
    else:
        params["SecurityGroupIds"] = resources.get("securityGroupIds") or []
    if resources.get("ec2KeyPair"):
        params["KeyName"] = resources["ec2KeyPair"]
    if resources["type"] == "SPOT":
        params["InstanceMarketOptions"] = {"MarketType": "spot"}
    params["UserData"] = user_data(data.get("UserData"), host.cluster)
    tags = [{"Key": key, "Value": value} for key, value in (resources.get("tags") or {}).items()]
    if tags:  # the environment's tags over the template's
        params["TagSpecifications"] = _merged_tags(data.get("TagSpecifications") or [], tags)
    fault = cloud.faults.take("ec2", "RunInstances", params)
    if fault is not None:
        before_effect(fault)
    own_tags = {"aws:batch:compute-environment": environment.arn, "AWSBatchServiceTag": "batch"}
    return launch_as(call, params, own_tags)[0]


def _merged_tags(of_template: list[Params], tags: list[Params]) -> list[Params]:
    merged = {one["ResourceType"]: list(one.get("Tags", [])) for one in of_template}
    names = {tag["Key"] for tag in tags}
    kept = [tag for tag in merged.get("instance", []) if tag["Key"] not in names]
    merged["instance"] = kept + tags
    return [
        {"ResourceType": kind, "Tags": held}
        for kind, held in merged.items()
        if kind != "launch-template"
    ]


def _template_data(call: Call, named: Params) -> Params:
    versions = call.moto(
        {"LaunchTemplateId": named["LaunchTemplateId"], "Versions": [named["Version"]]},
        action="DescribeLaunchTemplateVersions",
    )["LaunchTemplateVersions"]
    return dict(versions[0]["LaunchTemplateData"]) if versions else {}


def _profile(role: str) -> Params:
    return {"Arn": role} if role.startswith("arn:") else {"Name": role}


def _image(cloud: Cloud, environment: Environment, host: Host) -> str:
    """The AMI for the machine's type: the deciding one, or Batch's own for the image type."""
    chosen = environment.launches.get("imageIds") or []
    configurations = environment.view["computeResources"].get("ec2Configuration") or []
    nvidia = host.offers.gpus > 0
    if len(chosen) > 1:  # one override for each of two image types
        for configuration, image in zip(configurations, chosen, strict=False):
            if configuration["imageType"].endswith("_NVIDIA") == nvidia:
                return str(image)
    if chosen:
        return str(chosen[0])
    named = [one["imageType"] for one in configurations]
    kind = next(
        (one for one in named if one.endswith("_NVIDIA") == nvidia),
        "ECS_AL2023_NVIDIA" if nvidia else "ECS_AL2023",
    )
    name = f"/aws/service/ecs/optimized-ami/{DEFAULT_IMAGES[kind]}/recommended/image_id"
    return public_parameters(cloud, environment.region)[name]


def user_data(own: str | None, cluster: str) -> str:
    """The template's parts, then Batch's, which appends to the agent's settings (base64)."""
    whole = MIMEMultipart(boundary="==BOUNDARY==")
    if own:
        for part in message_from_bytes(base64.b64decode(own)).walk():
            if not part.is_multipart():
                whole.attach(part)
    settings = (f"ECS_CLUSTER={cluster}", *AGENT_SETTINGS)
    lines = [f"echo {one}>>/etc/ecs/ecs.config" for one in settings]
    whole.attach(MIMEText("\n".join(["#!/bin/bash", *lines, ""]), "x-shellscript", "us-ascii"))
    return base64.b64encode(whole.as_bytes()).decode()


def bring_up(cloud: Cloud, host: Host, *, patience_s: float = 600.0) -> bool:
    """Follow the machine until its agent is in the cluster and says what it offers."""
    until = time.monotonic() + patience_s
    while time.monotonic() < until and not cloud.stopping.is_set():
        one = instance_of(cloud, host)
        if one is None or one.state in CLOSED:
            return False
        if one.state == "running":
            host.up = host.up or time.time()
            found = host.container_instance or _agent(cloud, host)
            if found and _greet(cloud, host):
                host.container_instance = found
                host.agent_up = host.agent_up or time.time()
                host.state, host.idle_since = "READY", time.time()
                wake.set()
                return True
        cloud.stopping.wait(0.05)
    return False


def _agent(cloud: Cloud, host: Host) -> str | None:
    if not cloud.real:
        return f"arn:aws:ecs:{host.region}:{host.account}:container-instance/{host.key}"
    return find_agent(cloud, host.instance_id, cluster=host.cluster)


def _greet(cloud: Cloud, host: Host) -> bool:
    """Ask the agent for its settings and GPUs."""
    nominal = {"gpus": [f"GPU-{number}" for number in range(host.offers.gpus)]}
    order = {"do": "hello", "seconds": 30}
    asked = script(order, command_id=f"batch-{host.key}", timeout_s=60.0)
    outcome = cloud.machines.run(host.instance_id, asked, cloud.stopping)
    said = reply(outcome, nominal=nominal)
    if "failed" in said:
        return False
    host.gpu_ids = list(said.get("gpus", []))
    return True


def end_host(cloud: Cloud, host: Host) -> None:
    """Terminate the machine, and take it out of the cluster; may be repeated."""
    host.state = "GONE"
    forget_agent(cloud, host.container_instance)
    one = instance_of(cloud, host)
    if one is not None and one.state not in ("shutting-down", "terminated"):
        ec2_lifecycle.terminate(cloud, one, why=_by_batch())
    cloud.changed()


def _by_batch() -> tuple[str, str]:
    return ("Client.UserInitiatedShutdown", f"Client.UserInitiatedShutdown: Batch, {now()}")


def forget_gone(cloud: Cloud) -> None:
    """Drop the records of machines that are terminated."""
    for key, host in list(hosts(cloud).items()):
        one = instance_of(cloud, host)
        if host.state == "GONE" and (one is None or one.state == "terminated"):
            with contextlib.suppress(KeyError):
                del hosts(cloud)[key]
