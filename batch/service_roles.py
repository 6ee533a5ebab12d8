"""The account's service-linked roles that Batch on EC2 needs, made when they are missing."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from typing import Any

import pulumi
from pulumi.dynamic import ConfigureRequest, CreateResult, DiffResult, Resource, ResourceProvider

ROLES = {
    "batch.amazonaws.com": "AWSServiceRoleForBatch",
    "spot.amazonaws.com": "AWSServiceRoleForEC2Spot",
    "autoscaling.amazonaws.com": "AWSServiceRoleForAutoScaling",
}
"""Role names by service (AWS Batch user guide, "Using service-linked roles"; EC2 user guide,
"Service-linked role for EC2 Spot": a request through the API does not make it; EC2 Auto Scaling
user guide). The last one is needed before a key is granted to it."""
VISIBLE_WITHIN_S = 60.0
"""IAM shows a new role within seconds; after this long something else is wrong."""


class ServiceRolesProvider(ResourceProvider):
    """Looks before it makes, and never deletes: the roles belong to the whole account."""

    serialize_as_secret_always = False

    def configure(self, req: ConfigureRequest) -> None:  # noqa: ARG002
        sys.tracebacklimit = 0

    def create(self, props: dict[str, Any]) -> CreateResult:
        from batch.waiting import get_client

        iam = get_client("iam", str(props["region"]))
        for service in props["services"]:
            ensure_role(iam, str(service))
        return CreateResult("service-roles", props)

    def diff(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> DiffResult:
        missing = set(_news["services"]) - set(_olds["services"])
        return DiffResult(bool(missing), ["services"] if missing else [], [], False)


def ensure_role(iam: Any, service: str) -> None:
    """Make a service's role unless the account has it, and wait until IAM shows it."""
    from batch.waiting import explain, find_code

    name = ROLES[service]
    if _exists(iam, name):
        return
    try:
        iam.create_service_linked_role(AWSServiceName=service)
    except Exception as error:
        if find_code(error) != "InvalidInput":  # somebody else has just made it
            doing = f"could not make the service-linked role {name}"
            raise explain(error, doing, "iam:CreateServiceLinkedRole") from None
    deadline = time.monotonic() + VISIBLE_WITHIN_S
    while not _exists(iam, name) and time.monotonic() < deadline:
        time.sleep(1)


def _exists(iam: Any, name: str) -> bool:
    from batch.waiting import explain, find_code

    try:
        iam.get_role(RoleName=name)
    except Exception as error:
        if find_code(error) == "NoSuchEntity":
            return False
        raise explain(error, f"could not look for the role {name}", "iam:GetRole") from None
    return True


class ServiceRoles(Resource, module="baked_ami", name="ServiceRoles"):
    """The roles of these services (keys of `ROLES`), there once this resource is."""

    def __init__(
        self,
        name: str,
        *,
        services: Sequence[str],
        region: pulumi.Input[str],
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        props = {"services": sorted(services), "region": region}
        super().__init__(ServiceRolesProvider(), name, props, opts)
