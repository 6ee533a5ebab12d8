"""AWS's managed policies, each there from the first call that names it."""

from __future__ import annotations

import json

from moto.iam.aws_managed_policies import aws_managed_policies_data
from moto.iam.models import AWSManagedPolicy

from local_cloud.call import Call, Params, handles

PREFIX = "arn:aws:iam::aws:policy/"


@handles(
    "iam",
    "AttachRolePolicy", "AttachUserPolicy", "AttachGroupPolicy", "GetPolicy", "GetPolicyVersion",
    "ListPolicyVersions", "ListEntitiesForPolicy",
)  # fmt: skip
def use_policy(call: Call) -> Params:
    """moto answers, which has the policy from now on if AWS has one of this name.

    AWS's policies and their documents are those that come with moto; there are over 1,500, too many
    to keep and save with every cloud, so ListPolicies only shows those that were named.
    """
    arn = str(call.params["PolicyArn"])
    if arn.startswith(PREFIX):
        _ensure(call, arn)
    return call.moto()


def _ensure(call: Call, arn: str) -> None:
    with call.cloud.moto.lock:
        backend = call.cloud.moto.backend("iam", region="aws", account=call.account)
        if arn in backend.managed_policies:
            return
        name = arn.rsplit("/", 1)[-1]
        data = json.loads(aws_managed_policies_data).get(name)
        if data is None:
            return
        policy = AWSManagedPolicy.from_data(name, call.account, backend.region_name, data)
        if policy.arn == arn:  # with its path
            backend.managed_policies[arn] = policy
            backend.aws_managed_policies.append(policy)
