"""Bad input on the real engine: told at preview, each fault where it belongs, in plain words."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from tests.program.conftest import DENIED_BUCKET, ROOT, LocalCloud, Stack

pytestmark = [pytest.mark.engine, pytest.mark.xdist_group("refusals")]


@pytest.fixture(scope="module")
def cloud_options() -> tuple[str, ...]:
    """Nothing here gets as far as a machine, so none need be able to run."""
    return ("--recorded",)


def test_what_is_not_in_aws_is_a_fault_of_its_own_property(stack: Stack, cloud: LocalCloud) -> None:
    """A tag, a model, a bucket and a subnet at once: four faults of one preview, nothing made."""
    stack.set(
        imageTag="no-such-tag",
        modelsBucket=None,
        models=[
            {"source": "s3://local-ml-models/models/no-such-model.pt"},
            {"source": f"s3://{DENIED_BUCKET}/yolo.pt"},
        ],
        subnetIds=["subnet-0123456789abcdef0"],
    )
    run = stack.preview()
    assert run.status != 0
    assert "Traceback" not in run.text, run.text
    faults = [line for line in run.text.splitlines() if "has a problem" in line]
    for key, said in (
        ("recipe.images[0].tag", "has no tag 'no-such-tag'. It has: latest. Push the image"),
        ("recipe.models[0].source", "no object s3://local-ml-models/models/no-such-model.pt. Uplo"),
        ("recipe.models[1].source", f"s3://{DENIED_BUCKET}/yolo.pt is denied: permission s3:GetOb"),
        ("site.subnet_ids[0]", "there is no subnet subnet-0123456789abcdef0 in ap-northeast-2."),
    ):
        assert any(key in line and said in line for line in faults), run.text
    assert [call for call in cloud.calls() if call["action"] == "RunInstances"] == []


def test_faults_of_the_settings_come_as_one_list_before_any_aws_call(
    stack: Stack, cloud: LocalCloud
) -> None:
    stack.set(
        repositoryUrl=None, imageTga="latest", rootVolumeGib="big", subnetIds=["subnet-REPLACE"]
    )
    before = len(cloud.calls())
    run = stack.preview()
    assert run.status != 0
    assert "Traceback" not in run.text, run.text
    for fault in (
        "4 settings are not usable; nothing was asked of AWS.",
        "baked-ami:repositoryUrl: is required, for example 123456789012.dkr.ecr.",
        "baked-ami:imageTga: is not a setting; did you mean imageTag?",
        "baked-ami:rootVolumeGib: must be a whole number, but is 'big'",
        "baked-ami:subnetIds[0]: still holds the placeholder 'subnet-REPLACE'",
    ):
        assert fault in run.text, run.text
    assert len(cloud.calls()) == before


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"batch": {"instanceTypes": ["g5.xlarge", "g5.xlarg"]}}, "there is no g5.xlarg in this"),
        (
            {"batch": {"instanceTypes": ["m5.large"]}},
            "(m5.large: 2 vCPUs, 8192 MiB, 0 GPUs), so it",
        ),
        ({"job": {"memoryMib": 32768}}, "32768 MiB and 1 GPUs fit on no machine of instance_types"),
    ],
)
def test_a_job_that_no_machine_could_run_is_refused_at_preview(
    stack: Stack, cloud: LocalCloud, settings: dict[str, Any], said: str
) -> None:
    stack.settings.clear()
    stack.settings.update(yaml.safe_load((ROOT / "Pulumi.local.yaml").read_text())["config"])
    stack.set(**settings)
    run = stack.preview()
    assert run.status != 0
    assert said in run.text, run.text
    assert "Traceback" not in run.text, run.text
