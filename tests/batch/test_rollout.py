"""When a roll-out is done, and what is told when it is not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from batch.rollout import RollOutProvider, wait_until_rolled_out
from batch.waiting import BatchError

OLD, NEW = "ami-00000000000000001", "ami-00000000000000002"


class Aws:
    """Batch and EC2 in one, with an environment whose status is the next of a list."""

    def __init__(self, *statuses: str, named: str = NEW, template: str = NEW) -> None:
        self.statuses, self.named, self.template = list(statuses), named, template
        self.asked = 0

    def describe_compute_environments(self, computeEnvironments: list[str]) -> dict[str, Any]:  # noqa: N803
        self.asked += 1
        status = self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]
        if status == "GONE":
            return {"computeEnvironments": []}
        seen = {
            "computeEnvironmentName": "gpu",
            "status": status,
            "statusReason": "CLIENT_ERROR - no such AMI",
            "computeResources": {
                "ec2Configuration": [{"imageIdOverride": self.named}],
                "launchTemplate": {"launchTemplateId": "lt-1", "version": "7"},
            },
        }
        return {"computeEnvironments": [seen]}

    def describe_launch_template_versions(self, **asked: Any) -> dict[str, Any]:
        assert asked == {"LaunchTemplateId": "lt-1", "Versions": ["7"]}
        return {"LaunchTemplateVersions": [{"LaunchTemplateData": {"ImageId": self.template}}]}


def wait(aws: Aws, is_over: Callable[[], bool] = lambda: False) -> list[float]:
    """The pauses that were made."""
    pauses: list[float] = []
    wait_until_rolled_out(aws, aws, "arn:gpu", NEW, is_over=is_over, pause=pauses.append)
    return pauses


def test_it_waits_as_long_as_batch_is_updating_and_looks_less_and_less_often() -> None:
    aws = Aws(*["UPDATING"] * 30, "VALID")
    pauses = wait(aws)
    assert len(pauses) == 30
    assert pauses == sorted(pauses)
    assert max(pauses) == 15


def test_it_asks_once_when_all_is_well() -> None:
    aws = Aws("VALID")
    assert wait(aws) == []
    assert aws.asked == 1


@pytest.mark.parametrize(
    ("aws", "told"),
    [
        (Aws("UPDATING", "INVALID"), r"gpu is INVALID: CLIENT_ERROR - no such AMI\. No AMI was"),
        (Aws("DELETING"), "gpu is DELETING"),
        (Aws("GONE"), "there is no compute environment arn:gpu"),
        (Aws("VALID", named=OLD), f"names in ec2Configuration {OLD}: somebody else"),
        (Aws("VALID", template=OLD), f"names in version 7 of its template {OLD}"),
    ],
)
def test_anything_but_valid_with_the_new_ami_is_a_failure(aws: Aws, told: str) -> None:
    with pytest.raises(BatchError, match=told):
        wait(aws)


def test_it_gives_up_in_the_end_and_says_how_to_go_on() -> None:
    with pytest.raises(BatchError, match=r"still moving .* gpu .* Run `pulumi up` again"):
        wait(Aws("UPDATING"), is_over=lambda: True)


@pytest.mark.parametrize(
    ("change", "changed"),
    [({}, False), ({"ami_id": OLD}, True), ({"minutes": 9}, False), ({"environments": []}, True)],
)
def test_only_another_ami_or_environment_is_a_change(change: dict[str, Any], changed: bool) -> None:
    props = {"environments": ["arn:gpu"], "ami_id": NEW, "region": "r", "minutes": 75}
    found = RollOutProvider().diff("roll-out", props, props | change)
    assert found.changes is changed
    assert not found.replaces
