"""Service Quotas: the vCPUs of EC2's machine families, as `quota` faults limit them."""

from __future__ import annotations

from dataclasses import replace

from local_cloud.call import Call, Params, handles
from local_cloud.errors import AwsError
from local_cloud.faults import Facts

#: Code: name, market, and a machine type of the family (EC2 user guide, "EC2 On-Demand instance
#: limits" and "Spot Instance quotas").
EC2 = {
    "L-DB2E81BA": ("Running On-Demand G and VT instances", False, "g5.xlarge"),
    "L-3819A6DF": ("All G and VT Spot Instance Requests", True, "g5.xlarge"),
    "L-417A185B": ("Running On-Demand P instances", False, "p4d.24xlarge"),
    "L-7212CCBC": ("All P Spot Instance Requests", True, "p4d.24xlarge"),
    "L-1216C47A": (
        "Running On-Demand Standard (A, C, D, H, I, M, R, T, Z) instances", False, "m5.large",
    ),
    "L-34B43A08": (
        "All Standard (A, C, D, H, I, M, R, T, Z) Spot Instance Requests", True, "m5.large",
    ),
}  # fmt: skip
#: What an account here was given. AWS gives a new one 0 of G and P, and raises it on request.
GIVEN_VCPUS = 96


@handles("service-quotas", "GetServiceQuota")
def get_service_quota(call: Call) -> Params:
    _check(call)
    code = call.params["QuotaCode"]
    _, spot, kind = EC2[code]
    facts: Facts = {"instance_type": kind, "spot": spot, "region": call.region}
    limits = [limit.vcpus for limit in call.cloud.faults.limits("quota", facts)]
    return {"Quota": _quota(call, code, min([*limits, GIVEN_VCPUS]))}


@handles("service-quotas", "ListServiceQuotas")
def list_service_quotas(call: Call) -> Params:
    _check(call)
    return {"Quotas": [
        get_service_quota(replace(call, params=call.params | {"QuotaCode": code}))["Quota"]
        for code in EC2
    ]}  # fmt: skip


@handles("service-quotas", "GetAWSDefaultServiceQuota")
def get_default_quota(call: Call) -> Params:
    """What AWS gives a new account: 0 of G and P, 5 of the standard families."""
    _check(call)
    code = call.params["QuotaCode"]
    return {"Quota": _quota(call, code, 5 if EC2[code][2] == "m5.large" else 0)}


def _check(call: Call) -> None:
    service, code = call.params["ServiceCode"], call.params.get("QuotaCode")
    if service != "ec2" or (code is not None and code not in EC2):
        raise AwsError(
            "NoSuchResourceException",
            f"The request failed because the specified service quota {code or service} does not"
            " exist.",
        )


def _quota(call: Call, code: str, vcpus: float) -> Params:
    return {
        "ServiceCode": "ec2",
        "ServiceName": "Amazon Elastic Compute Cloud (Amazon EC2)",
        "QuotaArn": f"arn:aws:servicequotas:{call.region}:{call.account}:ec2/{code}",
        "QuotaCode": code,
        "QuotaName": EC2[code][0],
        "Value": float(vcpus),
        "Unit": "None",
        "Adjustable": True,
        "GlobalQuota": False,
    }
