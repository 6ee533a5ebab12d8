"""EC2 machines of a bake: found by tag, launched where there is capacity, ended."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ami_provider import launch, tags, waiting
from ami_provider.errors import (
    BakeError,
    bake_error,
    explain_aws,
    get_code,
    get_message,
    is_aws_error,
    is_capacity,
    is_not_found,
    is_token_mismatch,
    is_transient,
)
from ami_provider.instance_state import is_running
from ami_provider.job import Job
from ami_provider.launch import Request

if TYPE_CHECKING:
    from types_boto3_ec2.type_defs import InstanceTypeDef

ALIVE = ("pending", "running")
OVER = ("shutting-down", "terminated")
MAX_ATTEMPTS = 50
LAUNCH_WAIT_S = 120.0
"""How long throttling, faults and an instance profile that EC2 does not see yet are borne."""


@dataclass(frozen=True)
class Machine:
    """A machine of this bake. `step` is the last stage that its tag says is finished."""

    id: str
    instance_type: str
    market: str
    step: str = ""

    def __str__(self) -> str:
        return f"{self.id} ({self.instance_type}, {self.market})"


def find_machine(job: Job, role: tags.Role, image_id: str | None = None) -> Machine | None:
    """The machine of this fingerprint that an earlier or another run left working, if any.

    With `image_id`, only one that was booted from that AMI.
    """
    alive = [m for m in _describe(job, role) if m["State"]["Name"] in ALIVE]
    if image_id:
        alive = [m for m in alive if m.get("ImageId") == image_id]
    alive.sort(key=lambda m: (m["State"]["Name"] != "running", m["InstanceId"]))
    return _machine(alive[0]) if alive else None


def launch_machine(
    job: Job, role: tags.Role, *, image_id: str, types: Sequence[str], minutes: int, failed: int = 0
) -> Machine:
    """Launch on the first choice (type x subnet, spot before on-demand) that has capacity.

    `minutes` is what the machine is given before it ends itself, if nobody comes. The first
    `failed` choices are left out: machines there were lost. Raises `BakeError` listing every
    choice and why it was not to be had.
    """
    choices = launch.list_choices(job.site, types)
    refusals: list[str] = []
    attempt = 1 + max((_attempt(m) for m in _describe(job, role)), default=0)
    for choice in choices[min(failed, len(choices) - 1) :]:
        request = launch.build_request(job, role, choice, image_id=image_id, minutes=minutes)
        try:
            machine = _launch(job, role, request, attempt)
        except Exception as error:
            if not (is_aws_error(error) and is_capacity(error)):
                raise
            refusals.append(f"{choice}: {get_code(error)}: {get_message(error)}")
            job.say(f"{choice}: {get_code(error)}, next choice")
            continue
        if refusals:
            job.say(f"launched {choice} after {len(refusals)} without capacity")
        return machine
    raise BakeError(
        f"no capacity for the {role}: {len(refusals)} choices refused",
        "\n".join(refusals),
        "Add machine types or subnets of other zones to the site, allow on-demand "
        "(capacity: spot-then-on-demand), ask for a higher quota, or try again later.",
    )


def _launch(job: Job, role: tags.Role, request: Request, first_attempt: int) -> Machine:
    """RunInstances, so that neither a lost answer nor a second client makes a second machine."""
    for attempt in range(first_attempt, first_attempt + MAX_ATTEMPTS):
        launch.set_attempt(request, attempt)
        token = launch.get_client_token(job, role, request, attempt)
        try:
            made = _run(job, role, {**request, "ClientToken": token})
        except Exception as error:
            if is_token_mismatch(error):  # Another client launched first, with its own settings.
                other = find_machine(job, role, request["ImageId"])
                if other:
                    return other
                continue
            if is_aws_error(error) and not is_capacity(error):
                raise _refused(error, request) from error
            raise
        if isinstance(made, Machine):
            return made
        if made["State"]["Name"] not in OVER:
            return _machine(made)
        # The token named a machine of an earlier attempt that is gone: count on.
    raise BakeError(f"no {role} after {MAX_ATTEMPTS} attempts", "", "Try again in an hour.")


def _run(job: Job, role: tags.Role, request: Request) -> InstanceTypeDef | Machine:
    """The call, repeated through faults and throttling: its token makes that safe."""
    last = ""

    def call() -> InstanceTypeDef | None:
        nonlocal last
        try:
            return job.aws.ec2_once.run_instances(**request)["Instances"][0]
        except Exception as error:
            worth_another = is_transient(error) or _is_unseen_profile(error)
            if not worth_another or is_capacity(error):
                raise
            last = f"{get_code(error)}: {get_message(error)}"
            job.say(f"launching: {last}; once more")
            return None

    try:
        return waiting.wait_until(call, timeout_s=LAUNCH_WAIT_S, first_s=1.0)
    except waiting.WaitTimeoutError:
        made = find_machine(job, role, request["ImageId"])  # Perhaps only the answers were lost.
        if made:
            return made
        raise BakeError(
            f"could not launch {request['InstanceType']} in {request['SubnetId']}",
            f"RunInstances kept failing for {LAUNCH_WAIT_S:.0f} s: {last}",
            "If it names the instance profile, create it or correct site.instance_profile; "
            "otherwise try again later.",
        ) from None


def _is_unseen_profile(error: BaseException) -> bool:
    """A new instance profile takes some seconds until EC2 sees it."""
    named = "iaminstanceprofile" in re.sub(r"[ .]", "", get_message(error)).lower()
    return named and get_code(error).startswith("InvalidParameter")


def _refused(error: BaseException, request: Request) -> BakeError:
    what = f"{request.get('InstanceType')} in {request.get('SubnetId')}"
    if get_code(error) == "UnauthorizedOperation" and "PassRole" in get_message(error):
        return BakeError(
            f"could not launch {what}",
            explain_aws(error, "iam:PassRole"),
            "Allow iam:PassRole on the builder's role to the identity that runs Pulumi.",
        )
    return bake_error(error, f"could not launch {what}", "ec2:RunInstances")


def wait_until_ready(job: Job, machine: Machine) -> None:
    """Wait until the machine runs and its SSM agent answers.

    Raises `MachineLostError` when it ended instead, `BakeError` after the site's `ready` minutes.
    """
    running = False

    def look() -> bool | None:
        nonlocal running
        if not running:
            running = is_running(job.aws, machine.id)
            if not running:
                return None
        return launch.is_online(job.aws, machine.id) or None

    try:
        waiting.wait_until(look, timeout_s=job.site.timeouts.ready * 60)
    except waiting.WaitTimeoutError as error:
        is_running(job.aws, machine.id)  # Raises if it is gone.
        if error.cause:
            action = "ssm:DescribeInstanceInformation"
            raise bake_error(error.cause, f"lost sight of {machine}", action) from None
        state = "runs, but its SSM agent does not answer" if running else "does not start"
        raise BakeError(
            f"the machine {machine} {state}",
            f"Waited {job.site.timeouts.ready} min.",
            "Check that its role has AmazonSSMManagedInstanceCore, and that its subnet and "
            "security group let 443 out (an internet gateway and a public address, NAT, or "
            "endpoints for ssm, ssmmessages and ec2messages).",
        ) from None


def set_step(job: Job, machine: Machine, step: str) -> None:
    """Note on the machine's tag how far it got. Only a note: the machine itself knows best."""
    try:
        job.aws.ec2.create_tags(Resources=[machine.id], Tags=tags.to_list({tags.STEP: step}))
    except Exception as error:
        if not is_transient(error):
            raise bake_error(error, f"could not tag {machine.id}", "ec2:CreateTags") from error


def terminate_machine(job: Job, machine_id: str) -> None:
    """End a machine; its volume goes with it. May be repeated, also when it is gone."""
    try:
        waiting.wait_until(lambda: _terminate(job, machine_id), timeout_s=120, first_s=2.0)
    except waiting.WaitTimeoutError:
        raise BakeError(
            f"could not terminate {machine_id}",
            "AWS kept answering with faults for two minutes.",
            f"The machine ends by itself. To end it now: aws ec2 terminate-instances "
            f"--region {job.site.region} --instance-ids {machine_id}",
        ) from None


def _terminate(job: Job, machine_id: str) -> bool | None:
    try:
        job.aws.ec2.terminate_instances(InstanceIds=[machine_id])
    except Exception as error:
        if is_not_found(error):
            return True
        if is_transient(error):
            return None
        raise bake_error(
            error, f"could not terminate {machine_id}", "ec2:TerminateInstances"
        ) from error
    return True


def _describe(job: Job, role: tags.Role) -> list[InstanceTypeDef]:
    filters = [
        {"Name": f"tag:{tags.FINGERPRINT}", "Values": [job.fingerprint]},
        {"Name": f"tag:{tags.ROLE}", "Values": [role]},
    ]
    try:
        pages = job.aws.ec2.get_paginator("describe_instances").paginate(Filters=filters)  # type: ignore[arg-type]
        return [m for page in pages for r in page["Reservations"] for m in r["Instances"]]
    except Exception as error:
        if not is_aws_error(error):
            raise
        raise bake_error(error, "could not look for a builder", "ec2:DescribeInstances") from error


def _machine(found: InstanceTypeDef) -> Machine:
    noted = tags.to_mapping(found.get("Tags"))
    market = "spot" if found.get("InstanceLifecycle") == "spot" else "on-demand"
    return Machine(
        found["InstanceId"], str(found.get("InstanceType", "")), market, noted.get(tags.STEP, "")
    )


def _attempt(found: InstanceTypeDef) -> int:
    value = tags.to_mapping(found.get("Tags")).get(tags.ATTEMPT, "0")
    return int(value) if value.isdigit() else 0
