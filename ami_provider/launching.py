"""Launches a machine of a bake where there is capacity, and never two for one purpose."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
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
    is_token_mismatch,
    is_transient,
)
from ami_provider.job import Job
from ami_provider.launch import Choice, Request
from ami_provider.machines import ALIVE, Machine, describe_machines, find_machine, to_machine

if TYPE_CHECKING:
    from types_boto3_ec2.type_defs import InstanceTypeDef

OVER = ("shutting-down", "terminated", "stopping", "stopped")
MAX_ATTEMPTS = 50
MOST_LOSSES = 2
"""How often a machine may be lost in one place before that place is given up."""
LAUNCH_WAIT_S = 120.0
"""How long throttling, faults and an instance profile that EC2 does not see yet are borne."""
APPEAR_S = 20.0
"""How long a machine that another client has just launched may stay unseen."""


def launch_machine(
    job: Job,
    role: tags.Role,
    *,
    image_id: str,
    types: Sequence[str],
    minutes: int,
    lost: Iterable[Machine] = (),
) -> Machine:
    """Launch on the first choice (type x subnet, spot before on-demand) that has capacity.

    `minutes` is what the machine is given before it ends itself, if nobody comes. Where a machine
    was `lost` before is tried last. Raises `BakeError` listing every choice, and each machine
    lost, with the reason.
    """
    choices = list_fresh_first(launch.list_choices(job.site, types), lost)
    refused = 0
    earlier = describe_machines(job, role, "kept")
    for known in earlier:  # Another client may have been faster just now.
        mine = tags.to_mapping(known.get("Tags")).get(tags.ROLE) == role
        if mine and known["State"]["Name"] in ALIVE and bears(job, role, image_id, known):
            return to_machine(known)
    attempt = 1 + max((_attempt(m) for m in earlier), default=0)
    end = waiting.now() + job.site.timeouts.capacity * 60
    for choice in choices:
        if refused and waiting.now() > end:
            job.attempts.append(
                f"(given up after timeouts.capacity, {job.site.timeouts.capacity} min)"
            )
            break
        request = launch.build_request(job, role, choice, image_id=image_id, minutes=minutes)
        try:
            machine = _launch(job, role, request, attempt)
        except Exception as error:
            if not (is_aws_error(error) and is_capacity(error)):
                raise
            refused += 1
            job.attempts.append(f"{choice}: {get_code(error)}: {get_message(error)}")
            job.note(f"no {role} as {choice}: {get_code(error)}; next choice")
            continue
        if refused:
            job.note(f"launched the {role} as {choice}, after {refused} refused")
        return machine
    raise BakeError(
        f"no capacity for the {role}: {refused} choices refused",
        "\n".join(job.attempts),
        "Add machine types or subnets of other zones to the site, allow on-demand "
        "(capacity: spot-then-on-demand), ask for a higher quota, or try again later.",
    )


def bears(job: Job, role: tags.Role, image_id: str, known: InstanceTypeDef) -> bool:
    """Whether this machine does for one of the AMI `image_id`.

    A builder does whatever it was booted from: the one that launched it has chosen. Only where
    this run has found that an earlier AMI will not do, it has to be from the base AMI.
    """
    return known.get("ImageId") == image_id or (role == "builder" and not job.refused)


def list_fresh_first(choices: Sequence[Choice], lost: Iterable[Machine]) -> list[Choice]:
    """The choices by how many machines were lost there, else in their order; none lost too often.

    Empty when machines were lost everywhere.
    """
    losses = Counter((m.instance_type, m.subnet_id, m.market) for m in lost)

    def count(choice: Choice) -> int:
        return losses[choice.instance_type, choice.subnet_id, choice.market]

    return sorted((c for c in choices if count(c) < MOST_LOSSES), key=count)


def _launch(job: Job, role: tags.Role, request: Request, first_attempt: int) -> Machine:
    """RunInstances, so that neither a lost answer nor a second client makes a second machine."""
    for attempt in range(first_attempt, first_attempt + MAX_ATTEMPTS):
        launch.set_attempt(request, attempt)
        token = launch.get_client_token(job, role, request, attempt)
        try:
            made = _run(job, role, {**request, "ClientToken": token})
        except Exception as error:
            if is_token_mismatch(error):  # Another client launched first, with its own settings.
                other = _wait_for_other(job, role, request["ImageId"])
                if other:
                    return other
                continue
            if is_aws_error(error) and not is_capacity(error):
                raise _refused(error, request) from error
            raise
        if isinstance(made, Machine):
            return made
        if made["State"]["Name"] not in OVER:
            return to_machine(made)
        # The token named a machine of an earlier attempt that is gone: count on.
    raise BakeError(f"no {role} after {MAX_ATTEMPTS} attempts", "", "Try again in an hour.")


def _wait_for_other(job: Job, role: tags.Role, image_id: str) -> Machine | None:
    """The machine that another client has launched; None if it does not show, or ended."""
    try:
        wanted = None if role == "builder" and not job.refused else image_id
        return waiting.wait_until(
            lambda: find_machine(job, role, wanted), timeout_s=APPEAR_S, first_s=0.5
        )
    except waiting.WaitTimeoutError:
        return None


def _run(job: Job, role: tags.Role, request: Request) -> InstanceTypeDef | Machine:
    """The call, repeated through faults and throttling: its token makes that safe."""
    last = ""

    def call() -> InstanceTypeDef | None:
        nonlocal last
        try:
            return job.aws.ec2_once.run_instances(**request)["Instances"][0]
        except Exception as error:
            if launch.is_rate_refused(error) and launch.drop_rate(request):
                job.note(f"no volume initialization rate to be had: {get_message(error)}")
                return None
            unseen = _find_unseen(error, role)
            if not (unseen or is_transient(error)) or is_capacity(error):
                raise
            last = f"{get_code(error)}: {get_message(error)}"
            if unseen:
                job.note(f"EC2 does not see {unseen} yet; trying again")
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


def _find_unseen(error: BaseException, role: tags.Role) -> str:
    """What takes some seconds until all of EC2 sees it: a new profile, or the AMI just made."""
    code = get_code(error)
    named = "iaminstanceprofile" in re.sub(r"[ .]", "", get_message(error)).lower()
    if named and code.startswith("InvalidParameter"):
        return "the instance profile"
    new = {"InvalidAMIID.NotFound": "the new AMI", "InvalidSnapshot.NotFound": "its snapshot"}
    return new.get(code, "") if role == "verifier" else ""


def _refused(error: BaseException, request: Request) -> BakeError:
    what = f"{request.get('InstanceType')} in {request.get('SubnetId')}"
    if get_code(error) == "UnauthorizedOperation" and "PassRole" in get_message(error):
        return BakeError(
            f"could not launch {what}",
            explain_aws(error, "iam:PassRole"),
            "Allow iam:PassRole on the builder's role to the identity that runs Pulumi.",
        )
    return bake_error(error, f"could not launch {what}", "ec2:RunInstances")


def _attempt(found: InstanceTypeDef) -> int:
    value = tags.to_mapping(found.get("Tags")).get(tags.ATTEMPT, "0")
    return int(value) if value.isdigit() else 0
