"""The functions (data sources) of the stand-in, as a table at the end."""

from __future__ import annotations

from local_cloud.pulumi_plugin.aws import Account
from local_cloud.pulumi_plugin.fields import block, boolean, text
from local_cloud.pulumi_plugin.resource_type import Function
from local_cloud.pulumi_plugin.types import ec2_functions
from local_cloud.pulumi_plugin.types.policy_document import policy_document
from local_cloud.pulumi_plugin.values import Props


def _caller_identity(account: Account, arguments: Props) -> Props:
    answer = account.client("sts").get_caller_identity()
    return {
        "accountId": answer["Account"],
        "arn": answer["Arn"],
        "id": answer["Account"],
        "userId": answer["UserId"],
    }


def _region(account: Account, arguments: Props) -> Props:
    name = arguments.get("name") or arguments.get("id") or account.region
    return {
        "description": name,
        "endpoint": f"ec2.{name}.{account.dns_suffix}",
        "id": name,
        "name": name,
        "region": name,
    }


def _partition(account: Account, arguments: Props) -> Props:
    suffix = account.dns_suffix
    return {
        "dnsSuffix": suffix,
        "id": account.partition,
        "partition": account.partition,
        "reverseDnsPrefix": ".".join(reversed(suffix.split("."))),
    }


def _parameter(account: Account, arguments: Props) -> Props:
    name = arguments["name"]
    answer = account.client("ssm").get_parameter(
        Name=name, WithDecryption=arguments.get("withDecryption", True)
    )
    found = answer["Parameter"]
    return {
        "arn": found["ARN"],
        "id": found["Name"],
        "insecureValue": None if found["Type"] == "SecureString" else found["Value"],
        "name": found["Name"],
        "type": found["Type"],
        "value": found["Value"],
        "version": found["Version"],
        "withDecryption": arguments.get("withDecryption", True),
        "region": account.region,
    }


ALL = (
    Function(
        pulumi_type="aws:index/getCallerIdentity:getCallerIdentity",
        arguments={"id": text()},
        invoke=_caller_identity,
    ),
    Function(
        pulumi_type="aws:index/getRegion:getRegion",
        arguments={"id": text(), "name": text()},
        invoke=_region,
    ),
    Function(
        pulumi_type="aws:index/getPartition:getPartition",
        arguments={"id": text()},
        invoke=_partition,
    ),
    Function(
        pulumi_type="aws:iam/getPolicyDocument:getPolicyDocument",
        arguments={"policyId": text(), "statements": block({}), "version": text()},
        invoke=policy_document,
    ),
    Function(
        pulumi_type="aws:ssm/getParameter:getParameter",
        arguments={"name": text(required=True), "withDecryption": boolean()},
        invoke=_parameter,
    ),
    *ec2_functions.ALL,
)
