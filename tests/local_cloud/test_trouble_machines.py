"""Spot interruptions, hosts that fail, disks that are full, as clients and machines see them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError

from local_cloud.cloud import Cloud
from local_cloud.faults import Faults, parse_faults
from local_cloud.inventory import take_inventory
from local_cloud.services.ec2_metadata import metadata_of
from tests.local_cloud.conftest import client_of
from tests.local_cloud.samples import launch, machine, profile, stop_clock, wait_until
from tests.local_cloud.test_commands import end_of, send
from tests.local_cloud.test_trouble_calls import control
from tests.waiting import until

SPOT = {"InstanceMarketOptions": {"MarketType": "spot"}}


def order(cloud: Cloud, *entries: dict[str, Any]) -> None:
    cloud.faults = Faults(parse_faults(json.dumps(entries)))


def kinds(cloud: Cloud) -> set[str]:
    return {kind for kind, items in take_inventory(cloud).items() if items}


def spot_request(aws: Any, instance_id: str) -> dict[str, Any]:
    asked = [{"Name": "instance-id", "Values": [instance_id]}]
    found = aws("ec2").describe_spot_instance_requests(Filters=asked)["SpotInstanceRequests"]
    return dict(found[0])


def metadata(cloud: Cloud, instance_id: str) -> dict[str, str]:
    found = metadata_of(cloud, instance_id)
    assert found is not None
    return {path.removeprefix("meta-data/"): text for path, text in found.tree.items()}


def test_an_interruption_is_told_in_the_metadata_before_the_machine_ends(
    cloud: Cloud, aws: Any
) -> None:
    clock = stop_clock(cloud)
    order(cloud, {"fault": "interrupt", "notice": 120, "when": {"instance_type": "t3.*"}})
    spared, hit = launch(aws), launch(aws, **SPOT)
    shown = machine(aws, hit)
    request = spot_request(aws, hit)
    told = metadata(cloud, hit)
    notice = json.loads(told["spot/instance-action"])
    assert notice["action"] == "terminate"
    assert told["spot/termination-time"] == notice["time"]
    assert json.loads(told["events/recommendations/rebalance"])["noticeTime"] <= notice["time"]
    assert shown["State"]["Name"] in ("pending", "running")
    assert (request["State"], request["Status"]["Code"]) == (
        "closed",
        "instance-terminated-no-capacity",
    )
    clock.advance(119)
    assert wait_until(aws, hit, "running")
    clock.advance(2)
    shown = wait_until(aws, hit, "terminated")
    assert shown["StateReason"] == {
        "Code": "Server.SpotInstanceTermination",
        "Message": "Server.SpotInstanceTermination: Spot instance termination",
    }
    assert shown["StateTransitionReason"].startswith("Service initiated (")
    assert spot_request(aws, hit)["Status"]["Code"] == "instance-terminated-no-capacity"
    assert "spot/instance-action" not in metadata(cloud, spared)
    aws("ec2").terminate_instances(InstanceIds=[spared])
    wait_until(aws, spared, "terminated")
    assert kinds(cloud) == set()


def test_a_spot_machine_that_its_user_ends_says_so(cloud: Cloud, aws: Any) -> None:
    one = launch(aws, **SPOT)
    aws("ec2").terminate_instances(InstanceIds=[one])
    wait_until(aws, one, "terminated")
    request = spot_request(aws, one)
    assert (request["State"], request["Status"]["Code"]) == (
        "closed",
        "instance-terminated-by-user",
    )


def test_an_interruption_without_notice_comes_with_a_named_call(cloud: Cloud, aws: Any) -> None:
    one = launch(aws, **SPOT, IamInstanceProfile={"Name": profile(aws)})
    wait_until(aws, one, "running")
    order(
        cloud,
        {"fault": "interrupt", "service": "ssm", "action": "SendCommand", "after": 1, "notice": 0},
    )
    asked = {"InstanceIds": [one], "DocumentName": "AWS-RunShellScript"}
    for script in ("true", "sleep 5"):
        assert machine(aws, one)["State"]["Name"] == "running"
        aws("ssm").send_command(**asked, Parameters={"commands": [script]})
    assert machine(aws, one)["State"]["Name"] == "terminated"
    with pytest.raises(ClientError, match="InvalidInstanceId"):
        aws("ssm").send_command(**asked, Parameters={"commands": ["true"]})


def test_a_machine_can_go_before_the_call_that_names_it(cloud: Cloud, aws: Any) -> None:
    one = launch(aws)
    wait_until(aws, one, "running")
    order(cloud, {"fault": "host-failure", "action": "CreateImage", "before": True, "times": 1})
    with pytest.raises(ClientError, match="IncorrectInstanceState"):
        aws("ec2").create_image(InstanceId=one, Name="image")
    assert machine(aws, one)["StateReason"]["Code"] == "Server.InternalError"
    assert kinds(cloud) == set()


def test_a_call_that_names_no_machine_can_cost_those_that_run(cloud: Cloud, aws: Any) -> None:
    ended, kept = launch(aws, InstanceType="t3.small"), launch(aws)
    order(
        cloud,
        {"fault": "host-failure", "action": "DescribeImages",
         "when": {"instance_type": "t3.small"}},
    )  # fmt: skip
    aws("ec2").describe_images(Owners=["self"])
    assert machine(aws, ended)["State"]["Name"] == "terminated"
    assert machine(aws, kept)["State"]["Name"] in ("pending", "running")


def test_a_host_that_fails_at_launch_looks_like_ec2s_internal_error(cloud: Cloud, aws: Any) -> None:
    order(cloud, {"fault": "host-failure", "times": 1})
    shown = machine(aws, launch(aws))
    assert shown["State"]["Name"] == "terminated"
    assert shown["StateReason"] == {
        "Code": "Server.InternalError",
        "Message": "Server.InternalError: Internal error on launch",
    }
    wait_until(aws, launch(aws), "running")


def test_a_launch_can_end_for_any_reason_of_ec2s(cloud: Cloud, aws: Any) -> None:
    code = "Client.VolumeLimitExceeded"
    order(cloud, {"fault": "host-failure", "code": code, "message": f"{code}: Volume limit"})
    shown = machine(aws, launch(aws))
    assert shown["StateReason"] == {"Code": code, "Message": f"{code}: Volume limit"}


def test_machines_of_fleets_are_interrupted_too(cloud: Cloud, aws: Any) -> None:
    from tests.local_cloud.test_trouble_limits import fleet

    order(cloud, {"fault": "interrupt", "notice": 0, "when": {"template": "fleet"}})
    made = fleet(aws, "t3.small", spot=True)["Instances"][0]["InstanceIds"]
    shown = machine(aws, made[0])
    assert shown["StateReason"]["Code"] == "Server.SpotInstanceTermination"


def test_an_impaired_machine_runs_and_answers_nothing(cloud: Cloud, aws: Any) -> None:
    one = launch(aws, IamInstanceProfile={"Name": profile(aws)})
    wait_until(aws, one, "running")
    status, answer = control(cloud, "PUT", f"machines/{one}", {"fault": "impair"})
    assert (status, answer["state"]) == (200, "running")
    shown = aws("ec2").describe_instance_status(InstanceIds=[one])["InstanceStatuses"][0]
    assert shown["InstanceState"]["Name"] == "running"
    assert shown["SystemStatus"]["Status"] == "impaired"
    assert shown["SystemStatus"]["Details"][0]["Status"] == "failed"
    with pytest.raises(ClientError, match="InvalidInstanceId"):
        aws("ssm").send_command(
            InstanceIds=[one], DocumentName="AWS-RunShellScript", Parameters={"commands": ["true"]}
        )
    aws("ec2").reboot_instances(InstanceIds=[one])

    def system() -> str:
        (found,) = aws("ec2").describe_instance_status(InstanceIds=[one])["InstanceStatuses"]
        return str(found["SystemStatus"]["Status"])

    until(lambda: system() == "ok")


def test_a_persistent_request_that_stops_is_stopped_and_disabled(cloud: Cloud, aws: Any) -> None:
    options = {"SpotInstanceType": "persistent", "InstanceInterruptionBehavior": "stop"}
    one = launch(aws, InstanceMarketOptions={"MarketType": "spot", "SpotOptions": options})
    wait_until(aws, one, "running")
    control(cloud, "PUT", f"machines/{one}", {"fault": "interrupt", "notice": 0})
    shown = wait_until(aws, one, "stopped")
    assert shown["StateReason"]["Code"] == "Server.SpotInstanceShutdown"
    request = spot_request(aws, one)
    assert (request["State"], request["Status"]["Code"]) == (
        "disabled",
        "instance-stopped-no-capacity",
    )


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        ({"fault": "throttle"}, 400, "throttle does not befall one machine"),
        ({"fault": "interrupt"}, 400, "interrupt needs a spot machine"),
        ({"fault": "impair", "times": 2}, 400, "times: means nothing for one machine now"),
        ({"fault": "impare"}, 400, "did you mean impair?"),
    ],
)
def test_a_control_call_that_cannot_be_done_says_why(
    cloud: Cloud, aws: Any, body: Any, status: int, said: str
) -> None:
    one = launch(aws)
    answered, answer = control(cloud, "PUT", f"machines/{one}", body)
    assert answered == status
    assert said in answer["error"]
    assert one in answer["error"]
    assert control(cloud, "PUT", "machines/i-0", body)[0] == 404


def run(aws: Any, instance_id: str, script: str) -> dict[str, Any]:
    return end_of(aws, send(aws, instance_id, script), instance_id)


def test_a_full_disk_fails_the_scripts_of_a_recorded_machine(cloud: Cloud, aws: Any) -> None:
    one = launch(aws, IamInstanceProfile={"Name": profile(aws)})
    wait_until(aws, one, "running")
    assert run(aws, one, "true")["Status"] == "Success"
    control(cloud, "PUT", f"machines/{one}", {"fault": "fill-disk"})
    ran = run(aws, one, "true")
    assert ran["Status"] == "Failed"
    assert "No space left on device" in ran["StandardErrorContent"]


@pytest.mark.machines
def test_real_machines_read_their_notice_and_feel_their_full_disk(real_cloud: Cloud) -> None:
    def aws(service: str) -> Any:
        return client_of(real_cloud.endpoint, service)

    order(
        real_cloud,
        {"fault": "fill-disk", "free_mib": 8, "service": "ssm", "action": "SendCommand",
         "when": {"Parameters.commands": "*before it is full*"}},
    )  # fmt: skip
    one = launch(aws, **SPOT, IamInstanceProfile={"Name": profile(aws)})
    wait_until(aws, one, "running")
    until(lambda: aws("ssm").describe_instance_information()["InstanceInformationList"])
    assert run(aws, one, ": before it is full")["Status"] == "Success"
    ran = run(
        aws,
        one,
        "head -c 33554432 /dev/zero > /var/more || { rm /var/more /var/.filled; sync; exit 1; }",
    )
    assert ran["Status"] == "Failed", ran
    assert "No space left on device" in ran["StandardErrorContent"]

    clock = stop_clock(real_cloud)
    control(real_cloud, "PUT", f"machines/{one}", {"fault": "interrupt"})
    ask = (
        'token=$(curl -fsS -X PUT -H "X-aws-ec2-metadata-token-ttl-seconds: 60"'
        " http://169.254.169.254/latest/api/token)\n"
        'curl -fsS -H "X-aws-ec2-metadata-token: $token"'
        " http://169.254.169.254/latest/meta-data/spot/instance-action"
    )
    told = run(aws, one, ask)
    assert told["Status"] == "Success", told
    assert json.loads(told["StandardOutputContent"])["action"] == "terminate", told
    clock.advance(121)
    shown = wait_until(aws, one, "terminated")
    assert shown["StateReason"]["Code"] == "Server.SpotInstanceTermination"
