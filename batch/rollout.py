"""A roll-out that counts as done only when Batch launches the new AMI: waited for, and checked."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import pulumi
from pulumi.dynamic import (
    ConfigureRequest,
    CreateResult,
    DiffResult,
    Resource,
    ResourceProvider,
    UpdateResult,
)

Props = dict[str, Any]
COMPARED = ("environments", "ami_id", "region")


class RollOutProvider(ResourceProvider):
    """Waits where the `aws` plugin does not: an environment that an earlier run left UPDATING, or
    INVALID, looks unchanged to it. While this fails, the engine deletes no old AMI."""

    serialize_as_secret_always = False

    def configure(self, req: ConfigureRequest) -> None:  # noqa: ARG002
        sys.tracebacklimit = 0

    def diff(self, _id: str, _olds: Props, _news: Props) -> DiffResult:
        changed = any(_olds.get(name) != _news.get(name) for name in COMPARED)
        return DiffResult(changed, [], [], False)

    def create(self, props: Props) -> CreateResult:
        self._wait(props)
        return CreateResult("roll-out", props)

    def update(self, _id: str, _olds: Props, _news: Props) -> UpdateResult:
        self._wait(_news)
        return UpdateResult(_news)

    def _wait(self, props: Props) -> None:
        from batch.waiting import get_client

        region = str(props["region"])
        until = time.monotonic() + 60 * float(props["minutes"])
        for environment in props["environments"]:
            wait_until_rolled_out(
                get_client("batch", region),
                get_client("ec2", region),
                str(environment),
                str(props["ami_id"]),
                is_over=lambda: time.monotonic() > until,
            )


def wait_until_rolled_out(
    batch: Any,
    ec2: Any,
    environment: str,
    ami_id: str,
    *,
    is_over: Callable[[], bool],
    pause: Callable[[float], None] = time.sleep,
) -> None:
    """Wait until the environment is VALID and both places that name its AMI name this one.

    `is_over` says when to give up. Raises BatchError for an environment that is INVALID, gone,
    still changing then, or that names another AMI.
    """
    from batch.waiting import BatchError

    pauses = 0.5
    while True:
        seen = _describe(batch, environment)
        name, status = seen["computeEnvironmentName"], seen["status"]
        if status == "VALID":
            break
        if status not in ("CREATING", "UPDATING"):
            raise BatchError(
                f"the compute environment {name} is {status}: {seen.get('statusReason') or '-'}. "
                f"No AMI was deleted, and running jobs go on. Remove the cause and run `pulumi up` "
                f"again, or go back to the former settings: either makes it VALID."
            )
        if is_over():
            raise BatchError(
                f"Batch is still moving the compute environment {name} to {ami_id}: the former AMI "
                f"stays until it has. Run `pulumi up` again, and it goes on waiting."
            )
        pause(pauses)
        pauses = min(pauses * 1.5, 15.0)
    wrong = [f"{where} {found}" for where, found in _named(ec2, seen) if found != ami_id]
    if wrong:
        raise BatchError(
            f"the compute environment {name} should start machines of {ami_id}, but names "
            f"{' and '.join(wrong)}: somebody else changed it. Run `pulumi refresh`, then "
            f"`pulumi up`."
        )


def _describe(batch: Any, environment: str) -> Props:
    from batch.waiting import BatchError, explain

    try:
        found = batch.describe_compute_environments(computeEnvironments=[environment])
    except Exception as error:
        doing, action = f"could not look at {environment}", "batch:DescribeComputeEnvironments"
        raise explain(error, doing, action) from None
    seen = [each for each in found["computeEnvironments"] if each["status"] != "DELETED"]
    if not seen:
        raise BatchError(f"there is no compute environment {environment}. Run `pulumi refresh`.")
    return dict(seen[0])


def _named(ec2: Any, environment: Props) -> list[tuple[str, str]]:
    """Where an AMI is named, and which: AWS's pages differ in which place decides."""
    from batch.waiting import explain

    resources = environment["computeResources"]
    named = [
        ("in ec2Configuration", str(each["imageIdOverride"]))
        for each in resources.get("ec2Configuration") or ()
        if each.get("imageIdOverride")
    ]
    template = resources.get("launchTemplate")
    if not template:
        return named
    try:
        (version,) = ec2.describe_launch_template_versions(
            LaunchTemplateId=template["launchTemplateId"], Versions=[template["version"]]
        )["LaunchTemplateVersions"]
    except Exception as error:
        doing = f"could not look at launch template {template['launchTemplateId']}"
        raise explain(error, doing, "ec2:DescribeLaunchTemplateVersions") from None
    image = version["LaunchTemplateData"].get("ImageId")
    return [*named, (f"in version {template['version']} of its template", str(image))]


class RollOut(Resource, module="baked_ami", name="RollOut"):
    """There once every environment starts its machines from this AMI; deleting it does nothing."""

    def __init__(
        self,
        name: str,
        *,
        environments: Sequence[pulumi.Input[str]],
        ami_id: pulumi.Input[str],
        region: pulumi.Input[str],
        minutes: int,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        """`environments`: ARNs. `minutes`: how long all of them together may take."""
        props = {
            "environments": list(environments),
            "ami_id": ami_id,
            "region": region,
            "minutes": minutes,
        }
        super().__init__(RollOutProvider(), name, props, opts)
