"""Fleets of the type `instant`: a launch over templates, with the machine types tried in order."""

from __future__ import annotations

from local_cloud.call import Call, Params, handles
from local_cloud.errors import AwsError, not_modelled
from local_cloud.services import ec2_lifecycle
from local_cloud.services.ec2_model import Instance, instances, is_mine, new_id, refuse_dry_run
from local_cloud.services.ec2_run import launch_as

#: What an override changes of the template, under RunInstances' names.
OVERRIDES = ("InstanceType", "SubnetId", "ImageId", "Placement", "BlockDeviceMappings")
IGNORED_OVERRIDES = {"MaxPrice", "Priority", "WeightedCapacity"}


@handles("ec2", "CreateFleet")
def create_fleet(call: Call) -> Params:
    """Launch at once, whole or not at all; what a launch was refused for comes back as an error."""
    ask = call.params
    if ask.get("Type", "maintain") != "instant":
        raise not_modelled("fleets that are not of the type instant")
    wanted = ask["TargetCapacitySpecification"]
    count = wanted["TotalTargetCapacity"]
    if wanted.get("SpotTargetCapacity") and wanted.get("OnDemandTargetCapacity"):
        raise not_modelled("fleets of spot and on-demand machines together")
    spot = wanted.get("DefaultTargetCapacityType", "on-demand") == "spot"
    if wanted.get("SpotTargetCapacity"):
        spot = True
    refuse_dry_run(call)
    call.cloud.pause(call.cloud.latency.due("launch"))
    fleet_id = f"fleet-{new_id('x')[2:10]}-0000-0000-0000-{new_id('x')[2:14]}"
    errors = []
    for config in ask["LaunchTemplateConfigs"]:
        for override in config.get("Overrides") or [{}]:
            shown = {
                "LaunchTemplateSpecification": config["LaunchTemplateSpecification"],
                "Overrides": override,
            }
            lifecycle = "spot" if spot else "on-demand"
            try:
                launch = _as_launch(config, override, count, spot=spot)
                made = launch_as(call, launch, {"aws:ec2:fleet-id": fleet_id})
            except AwsError as error:
                code, said = _in_fleets_words(error, spot=spot)
                errors.append(
                    {"LaunchTemplateAndOverrides": shown, "Lifecycle": lifecycle,
                     "ErrorCode": code, "ErrorMessage": said}
                )  # fmt: skip
                continue
            ec2_lifecycle.boot_all(call.cloud, made)
            fleet = {
                "LaunchTemplateAndOverrides": shown, "Lifecycle": lifecycle,
                "InstanceIds": [one.id for one in made],
                "InstanceType": made[0].view["InstanceType"],
            }  # fmt: skip
            return {"FleetId": fleet_id, "Instances": [fleet], "Errors": []}
    return {"FleetId": fleet_id, "Instances": [], "Errors": errors}


def _in_fleets_words(error: AwsError, *, spot: bool) -> tuple[str, str]:
    """A fleet has its own code for a lack of spot capacity (as Karpenter's users report it)."""
    if spot and error.code == "InsufficientInstanceCapacity":
        return "UnfulfillableCapacity", (
            "Unable to fulfill capacity due to your request configuration. Please adjust your"
            " request and try again."
        )
    return error.code, error.message


def _as_launch(config: Params, override: Params, count: int, *, spot: bool) -> Params:
    """The fleet's launch in RunInstances' words."""
    for name in set(override) - set(OVERRIDES) - IGNORED_OVERRIDES - {"AvailabilityZone"}:
        raise not_modelled(f"{name} in a fleet's override")
    named = {
        name: value
        for name, value in config["LaunchTemplateSpecification"].items()
        if name in ("LaunchTemplateId", "LaunchTemplateName", "Version")
    }
    launch: Params = {"LaunchTemplate": named, "MinCount": count, "MaxCount": count}
    launch |= {name: override[name] for name in OVERRIDES if name in override}
    if override.get("AvailabilityZone"):
        launch["Placement"] = {"AvailabilityZone": override["AvailabilityZone"]}
    if spot:
        launch["InstanceMarketOptions"] = {"MarketType": "spot"}
        if override.get("MaxPrice"):
            launch["InstanceMarketOptions"]["SpotOptions"] = {"MaxPrice": override["MaxPrice"]}
    return launch


@handles("ec2", "DeleteFleets")
def delete_fleets(call: Call) -> Params:
    """An instant fleet is over once it has launched; its machines can be terminated with it."""
    refuse_dry_run(call)
    answer = []
    for fleet_id in call.params["FleetIds"]:
        members: list[Instance] = [
            one
            for one in list(instances(call.cloud).values())
            if is_mine(call, one) and one.tags.get("aws:ec2:fleet-id") == fleet_id
        ]
        if call.params["TerminateInstances"]:
            for one in members:
                if one.state not in ("terminated", "shutting-down"):
                    ec2_lifecycle.terminate(call.cloud, one)
        answer.append(
            {"FleetId": fleet_id, "CurrentFleetState": "deleted_terminating",
             "PreviousFleetState": "active"}
        )  # fmt: skip
    return {"SuccessfulFleetDeletions": answer, "UnsuccessfulFleetDeletions": []}
