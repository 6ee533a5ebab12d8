"""Spot requests, which RunInstances makes for spot machines."""

from __future__ import annotations

from local_cloud.call import Call, Params, handles
from local_cloud.errors import AwsError
from local_cloud.inventory import lists
from local_cloud.services.ec2_filters import filtered, page
from local_cloud.services.ec2_model import mine, now, refuse_dry_run, spot_requests

FIELDS = {
    "spot-instance-request-id": "SpotInstanceRequestId", "state": "State",
    "instance-id": "InstanceId", "type": "Type", "status-code": "Status.Code",
    "launch.image-id": "LaunchSpecification.ImageId",
    "launch.instance-type": "LaunchSpecification.InstanceType",
    "launched-availability-zone": "LaunchedAvailabilityZone", "spot-price": "SpotPrice",
    "create-time": "CreateTime",
}  # fmt: skip


def _chosen(call: Call) -> list[str]:
    ids = call.params.get("SpotInstanceRequestIds", [])
    known = {one.id for one in mine(call, spot_requests(call.cloud))}
    for one in ids:
        if one not in known:
            raise AwsError(
                "InvalidSpotInstanceRequestID.NotFound",
                f"The spot instance request ID '{one}' does not exist",
            )
    return list(ids or known)


@handles("ec2", "DescribeSpotInstanceRequests")
def describe_spot_requests(call: Call) -> Params:
    chosen = set(_chosen(call))
    shown = [
        one.looked_at(call) for one in list(spot_requests(call.cloud).values()) if one.id in chosen
    ]
    kept = filtered(call, shown, FIELDS, "DescribeSpotInstanceRequests")
    return page(call, kept, "SpotInstanceRequests")


@handles("ec2", "CancelSpotInstanceRequests")
def cancel_spot_requests(call: Call) -> Params:
    """Cancel the requests; the machines go on, as AWS's do."""
    chosen = _chosen(call)
    refuse_dry_run(call)
    answer = []
    for request_id in chosen:
        request = spot_requests(call.cloud)[request_id]
        if request.view["State"] in ("active", "open"):
            request.view["State"] = "cancelled"
            code = "request-canceled-and-instance-running"
            request.view["Status"] = {"Code": code, "Message": code, "UpdateTime": now()}
        answer.append({"SpotInstanceRequestId": request_id, "State": "cancelled"})
    return {"CancelledSpotInstanceRequests": answer}


@lists("spot request")
def list_spot_requests(cloud: object) -> list[Params]:
    from local_cloud.cloud import Cloud

    assert isinstance(cloud, Cloud)
    return [
        {"id": one.id, "region": one.region, "machine": one.view["InstanceId"]}
        for one in list(spot_requests(cloud).values())
        if one.view["State"] in ("open", "active")
    ]
