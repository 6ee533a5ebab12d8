"""Service Quotas: the vCPUs of EC2's machine families, as `quota` faults limit them."""

from __future__ import annotations

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
    code, service = call.params["QuotaCode"], call.params["ServiceCode"]
    if service != "ec2" or code not in EC2:
        raise AwsError(
            "NoSuchResourceException",
            f"The request failed because the specified service quota {code} does not exist.",
        )
    name, spot, kind = EC2[code]
    facts: Facts = {"instance_type": kind, "spot": spot, "region": call.region}
    limits = [limit.vcpus for limit in call.cloud.faults.limits("quota", facts)]
    return {
        "Quota": {
            "ServiceCode": "ec2",
            "ServiceName": "Amazon Elastic Compute Cloud (Amazon EC2)",
            "QuotaCode": code,
            "QuotaName": name,
            "Value": float(min([*limits, GIVEN_VCPUS])),
            "Unit": "None",
            "Adjustable": True,
            "GlobalQuota": False,
        }
    }
