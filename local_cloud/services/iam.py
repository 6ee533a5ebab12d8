"""Where moto's IAM and STS differ from AWS's: service-linked roles' names, roles that are not."""

from __future__ import annotations

from local_cloud.call import Call, Params, handles
from local_cloud.call_details import find_principal
from local_cloud.cloud import Cloud
from local_cloud.errors import AwsError, not_modelled

#: Names from AWS's documentation of each service's role.
SERVICE_ROLES = {
    "batch.amazonaws.com": "AWSServiceRoleForBatch",
    "spot.amazonaws.com": "AWSServiceRoleForEC2Spot",
    "spotfleet.amazonaws.com": "AWSServiceRoleForEC2SpotFleet",
    "ecs.amazonaws.com": "AWSServiceRoleForECS",
    "ssm.amazonaws.com": "AWSServiceRoleForAmazonSSM",
    "autoscaling.amazonaws.com": "AWSServiceRoleForAutoScaling",
    "imagebuilder.amazonaws.com": "AWSServiceRoleForImageBuilder",
}


@handles("iam", "CreateServiceLinkedRole")
def create_service_linked_role(call: Call) -> Params:
    service = call.params["AWSServiceName"]
    if service not in SERVICE_ROLES:
        raise not_modelled(f"the service-linked role of {service}")
    name = SERVICE_ROLES[service]
    if find_role(call.cloud, name, account=call.account, region=call.region):
        raise AwsError(
            "InvalidInput",
            f"Service role name {name} has been taken in this account, please try a different"
            " suffix.",
        )
    return {"Role": ensure_service_role(call.cloud, service, account=call.account)}


@handles("sts", "AssumeRole")
def assume_role(call: Call) -> Params:
    """A role of the caller's account must be there; who may take it, its policy says on AWS."""
    arn = call.params["RoleArn"]
    account, _, name = arn.partition("::")[2].partition(":role/")
    here = account == call.account
    if here and not find_role(
        call.cloud, name.rpartition("/")[2], account=account, region=call.region
    ):
        who = find_principal(call.access_key, call.account)
        raise AwsError(
            "AccessDenied",
            f"User: {who} is not authorized to perform: sts:AssumeRole on resource: {arn}",
            status=403,
        )
    return call.cloud.moto.invoke(
        "sts", call.action, call.params, region=call.region, account=call.account
    )


@handles("sts", "GetCallerIdentity")
def get_caller_identity(call: Call) -> Params:
    """A key that no user of the account has is taken for a user of the key's own name."""
    with call.cloud.moto.lock:
        backend = call.cloud.moto.backend("sts", region="aws", account=call.account)
        user_id, arn, account = backend.get_caller_identity(call.access_key, call.region)
    if arn.endswith(":user/moto"):
        user_id, arn = call.access_key or "anonymous", find_principal(call.access_key, call.account)
    return {"UserId": user_id, "Account": account, "Arn": arn}


def find_role(cloud: Cloud, name: str, *, account: str, region: str) -> Params | None:
    """The role of this name, or None."""
    try:
        found = cloud.moto.invoke(
            "iam", "GetRole", {"RoleName": name}, region=region, account=account
        )
    except AwsError:
        return None
    return dict(found["Role"])


def ensure_service_role(cloud: Cloud, service: str, *, account: str) -> Params:
    """The account's service-linked role for a service such as `batch.amazonaws.com`."""
    name = SERVICE_ROLES[service]
    found = find_role(cloud, name, account=account, region=cloud.region)
    if found is not None:
        return found
    made = cloud.moto.invoke(
        "iam", "CreateServiceLinkedRole", {"AWSServiceName": service},
        region=cloud.region, account=account,
    )["Role"]  # fmt: skip
    with cloud.moto.lock:
        backend = cloud.moto.backend("iam", region="aws", account=account)
        role = next(one for one in backend.roles.values() if one.name == made["RoleName"])
        role.name = name
    found = find_role(cloud, name, account=account, region=cloud.region)
    assert found is not None
    return found
