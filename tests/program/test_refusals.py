"""Bad input on the real engine: told at preview, each fault where it belongs, in plain words."""

from __future__ import annotations

import pytest

from tests.program.conftest import DENIED_BUCKET, LocalCloud, Stack

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
        "baked-ami:rootVolumeGib: input should be a valid integer",
        "baked-ami:subnetIds[0]: still holds the placeholder 'subnet-REPLACE'",
    ):
        assert fault in run.text, run.text
    assert len(cloud.calls()) == before
