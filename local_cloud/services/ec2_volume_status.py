"""How EBS volumes are: status, how much of a snapshot's data has come, and attributes."""

from __future__ import annotations

from local_cloud.call import Call, Params, handles
from local_cloud.services.ec2_initialization import share_done
from local_cloud.services.ec2_model import Volume, get_all, get_volume, mine, volumes


@handles("ec2", "DescribeVolumeStatus")
def describe_volume_status(call: Call) -> Params:
    ids = call.params.get("VolumeIds", [])
    table = volumes(call.cloud)
    found = get_all(call, table, ids, "vol") if ids else mine(call, table)
    ok = {"Status": "ok", "Details": [{"Name": "io-enabled", "Status": "passed"}]}
    return {
        "VolumeStatuses": [
            {"VolumeId": one.id, "AvailabilityZone": one.view["AvailabilityZone"],
             "VolumeStatus": ok, "Actions": [], "Events": []} | _initialization(call, one)
            for one in found
        ]
    }  # fmt: skip


def _initialization(call: Call, volume: Volume) -> Params:
    """With a rate, by time; else what was touched of a cold volume. AWS shows it of volumes made
    from snapshots only (API reference, InitializationStatusDetails).
    """
    if not volume.view["SnapshotId"]:
        return {}
    rated = share_done(call.cloud, volume)
    if rated is not None:
        share, left = rated
        details: Params = {
            "InitializationType": "provisioned-rate",
            "Progress": int(100 * share),
            "EstimatedTimeToCompleteInSeconds": round(left),
        }
    else:
        held, cold = call.cloud.disks.cold_bytes(volume.id)
        progress = 100 * (held - cold) // held if held else 100
        details = {"InitializationType": "default", "Progress": progress}
    return {"InitializationStatusDetails": details}


@handles("ec2", "DescribeVolumeAttribute")
def describe_volume_attribute(call: Call) -> Params:
    volume = get_volume(call, call.params["VolumeId"])
    if call.params["Attribute"] == "autoEnableIO":
        return {"VolumeId": volume.id, "AutoEnableIO": {"Value": False}}
    return {"VolumeId": volume.id, "ProductCodes": []}


@handles("ec2", "GetEbsDefaultKmsKeyId")
def get_default_key(_: Call) -> Params:
    """No key was chosen here (choosing one is refused), so it is AWS's own."""
    return {"KmsKeyId": "alias/aws/ebs"}
