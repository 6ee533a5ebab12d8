"""What is updated in place and what replaces, as tables, and what a preview knows; no AWS."""

from __future__ import annotations

import copy
from typing import Any

import grpc
import pytest

from local_cloud.pulumi_plugin.values import UNKNOWN
from tests.local_cloud.plugin.conftest import Engine, Resource

ENVIRONMENT = "aws:batch/computeEnvironment:ComputeEnvironment"
LINKED = (
    "arn:aws:iam::123456789012:role/aws-service-role/batch.amazonaws.com/AWSServiceRoleForBatch"
)
OWN = "arn:aws:iam::123456789012:role/own"
RESOURCES: dict[str, Any] = {
    "type": "SPOT",
    "allocationStrategy": "SPOT_PRICE_CAPACITY_OPTIMIZED",
    "maxVcpus": 16,
    "minVcpus": 0,
    "bidPercentage": 50,
    "ec2KeyPair": "key",
    "imageId": "ami-1",
    "instanceRole": "arn:role",
    "instanceTypes": ["g5.xlarge", "g5.2xlarge"],
    "subnets": ["subnet-1", "subnet-2"],
    "securityGroupIds": ["sg-1"],
    "ec2Configurations": [{"imageType": "ECS_AL2023_NVIDIA", "imageIdOverride": "ami-1"}],
    "launchTemplate": {"launchTemplateId": "lt-1", "version": "1"},
    "placementGroup": "group",
    "spotIamFleetRole": "arn:fleet",
    "tags": {"a": "1"},
}


def environment(engine: Engine, *, role: str | None = None, **changes: Any) -> Resource:
    """A compute environment as the state would have it; AWS has filled in the service role."""
    inputs: dict[str, Any] = {
        "type": "MANAGED",
        "computeResources": RESOURCES | changes,
        "updatePolicy": {},
    }
    if role:
        inputs["serviceRole"] = role
    urn = engine.urn(ENVIRONMENT, "gpu")
    checked, faults = engine.check(urn, inputs)
    assert faults == {}
    state = {key: value for key, value in checked.items() if key != "__defaults"}
    return Resource(urn, checked["name"], checked, {"serviceRole": LINKED} | state)


def changed(resource: Resource, path: str, value: Any) -> dict[str, Any]:
    """The inputs with one attribute of the compute resources changed, or another one by name."""
    inputs = copy.deepcopy({k: v for k, v in resource.inputs.items() if k != "__defaults"})
    inputs.pop("name", None)
    place: Any = inputs
    *way, last = path.split(".")
    for step in way:
        place = place[int(step)] if step.isdigit() else place[step]
    place[last] = value
    return inputs


# path, new value, path named by the preview, replaces where Batch cannot update, replaces always
ENVIRONMENT_RULES = [
    ("computeResources.maxVcpus", 32, "computeResources.maxVcpus", False, False),
    ("computeResources.minVcpus", 4, "computeResources.minVcpus", False, False),
    ("computeResources.type", "EC2", "computeResources.type", False, False),
    ("state", "DISABLED", "state", False, False),
    (
        "updatePolicy.jobExecutionTimeoutMinutes",
        60,
        "updatePolicy.jobExecutionTimeoutMinutes",
        False,
        False,
    ),
    ("tags", {"a": "2"}, "tags", False, False),
    ("computeResources.subnets", ["subnet-3"], "computeResources.subnets", True, False),
    (
        "computeResources.securityGroupIds",
        ["sg-2"],
        "computeResources.securityGroupIds",
        True,
        False,
    ),
    (
        "computeResources.instanceTypes",
        ["g6.xlarge"],
        "computeResources.instanceTypes",
        True,
        False,
    ),
    ("computeResources.instanceRole", "arn:other", "computeResources.instanceRole", True, False),
    ("computeResources.imageId", "ami-2", "computeResources.imageId", True, False),
    ("computeResources.ec2KeyPair", "other", "computeResources.ec2KeyPair", True, False),
    ("computeResources.bidPercentage", 60, "computeResources.bidPercentage", True, False),
    ("computeResources.tags", {"a": "2"}, "computeResources.tags", True, False),
    (
        "computeResources.ec2Configurations.0.imageIdOverride",
        "ami-2",
        "computeResources.ec2Configurations[0].imageIdOverride",
        True,
        False,
    ),
    (
        "computeResources.ec2Configurations.0.imageType",
        "ECS_AL2023",
        "computeResources.ec2Configurations[0].imageType",
        True,
        False,
    ),
    (
        "computeResources.launchTemplate.version",
        "2",
        "computeResources.launchTemplate.version",
        True,
        False,
    ),
    (
        "computeResources.launchTemplate.launchTemplateId",
        "lt-2",
        "computeResources.launchTemplate.launchTemplateId",
        True,
        False,
    ),
    ("computeResources.launchTemplate", None, "computeResources.launchTemplate", True, True),
    ("computeResources.placementGroup", "other", "computeResources.placementGroup", True, True),
    ("computeResources.spotIamFleetRole", "arn:o", "computeResources.spotIamFleetRole", True, True),
    ("name", "another", "name", True, True),
    ("type", "UNMANAGED", "type", True, True),
]


@pytest.mark.parametrize(
    "strategy",
    ["BEST_FIT_PROGRESSIVE", "SPOT_CAPACITY_OPTIMIZED", "SPOT_PRICE_CAPACITY_OPTIMIZED"],
)
@pytest.mark.parametrize(
    ("path", "value", "named", "_", "always"), ENVIRONMENT_RULES, ids=lambda v: str(v)[:40]
)
def test_an_environment_that_batch_can_update(
    offline: Engine, strategy: str, path: str, value: Any, named: str, _: bool, always: bool
) -> None:
    resource = environment(offline, allocationStrategy=strategy)
    seen = offline.diff(resource, changed(resource, path, value))
    assert (seen.in_place, seen.replacing) == (([], [named]) if always else ([named], []))


@pytest.mark.parametrize(
    ("role", "strategy"), [(OWN, "SPOT_PRICE_CAPACITY_OPTIMIZED"), (None, "BEST_FIT")]
)
@pytest.mark.parametrize(
    ("path", "value", "named", "replaces", "_"), ENVIRONMENT_RULES, ids=lambda v: str(v)[:40]
)
def test_an_environment_that_batch_cannot_update(
    offline: Engine,
    role: str | None,
    strategy: str,
    path: str,
    value: Any,
    named: str,
    replaces: bool,
    _: bool,
) -> None:
    resource = environment(offline, role=role, allocationStrategy=strategy)
    seen = offline.diff(resource, changed(resource, path, value))
    assert (seen.in_place, seen.replacing) == (([], [named]) if replaces else ([named], []))


def test_a_strategy_change_is_in_place_only_between_the_new_strategies(offline: Engine) -> None:
    path = "computeResources.allocationStrategy"
    resource = environment(offline)
    for strategy, replaces in (("SPOT_CAPACITY_OPTIMIZED", False), ("BEST_FIT", True)):
        seen = offline.diff(resource, changed(resource, path, strategy))
        assert (seen.replacing == [path]) is replaces
    linked = environment(offline, role=LINKED)
    assert not offline.diff(linked, changed(linked, path, "BEST_FIT_PROGRESSIVE")).replacing


def test_an_unknown_template_version_is_in_place_or_replaces_by_the_same_rule(
    offline: Engine,
) -> None:
    path = "computeResources.launchTemplate.version"
    for resource, replaces in (
        (environment(offline), False),
        (environment(offline, role=OWN), True),
    ):
        seen = offline.diff(resource, changed(resource, path, UNKNOWN))
        assert (seen.in_place, seen.replacing) == (([], [path]) if replaces else ([path], []))


def test_what_aws_fills_in_and_the_order_of_sets_are_no_change(offline: Engine) -> None:
    resource = environment(offline)
    inputs = changed(resource, "computeResources.subnets", ["subnet-2", "subnet-1"])
    inputs["serviceRole"] = LINKED
    assert offline.diff(resource, inputs).nothing


def test_a_replacement_with_the_same_name_deletes_first(offline: Engine) -> None:
    resource = environment(offline)
    assert not offline.diff(resource, changed(resource, "type", "UNMANAGED")).delete_first
    resource.inputs |= {"name": "mine", "__defaults": ["state"]}
    inputs = changed(resource, "type", "UNMANAGED") | {"name": "mine"}
    assert offline.diff(resource, inputs).delete_first


def test_names_are_made_once_and_kept(offline: Engine) -> None:
    urn = offline.urn("aws:iam/role:Role", "host" * 20)
    first, _ = offline.check(urn, {"assumeRolePolicy": "{}"})
    assert len(first["name"]) == 64
    assert first["name"].startswith("hosthost")
    assert "name" in first["__defaults"]
    again, _ = offline.check(urn, {"assumeRolePolicy": "{}", "description": "x"}, first)
    assert again["name"] == first["name"]
    prefixed, _ = offline.check(urn, {"assumeRolePolicy": "{}", "namePrefix": "p-"})
    assert "name" not in prefixed
    _, faults = offline.check(urn, {"assumeRolePolicy": "{}", "namePrefix": "p", "name": "n"})
    assert set(faults) == {"name"}


def test_default_tags_are_everyones(offline: Engine) -> None:
    offline.configure(region="eu-west-1", defaultTags={"tags": {"team": "a", "own": "no"}})
    urn = offline.urn("aws:cloudwatch/logGroup:LogGroup", "jobs")
    checked, _ = offline.check(urn, {"tags": {"own": "yes"}})
    assert checked["tags"] == {"team": "a", "own": "yes"}


def test_a_preview_of_a_creation_knows_its_inputs_and_no_more(offline: Engine) -> None:
    seen = offline.preview_create(
        "aws:ec2/launchTemplate:LaunchTemplate", "host", {"imageId": UNKNOWN, "keyName": "k"}
    )
    assert seen["keyName"] == "k"
    assert {seen[name] for name in ("imageId", "arn", "latestVersion", "defaultVersion")} == {
        UNKNOWN
    }


@pytest.mark.parametrize(
    ("changes", "unknown"),
    [
        ({"imageId": "ami-2", "updateDefaultVersion": True}, {"latestVersion", "defaultVersion"}),
        ({"imageId": "ami-2"}, {"latestVersion"}),
        ({"tags": {"a": "1"}}, set()),
    ],
)
def test_a_preview_of_a_new_template_version(
    offline: Engine, changes: dict[str, Any], unknown: set[str]
) -> None:
    urn = offline.urn("aws:ec2/launchTemplate:LaunchTemplate", "host")
    inputs, _ = offline.check(urn, {"imageId": "ami-1"})
    state = inputs | {"latestVersion": 1, "defaultVersion": 1, "arn": "arn:lt"}
    resource = Resource(urn, "lt-1", inputs, state)
    seen = offline.update(resource, {"imageId": "ami-1"} | changes, preview=True).state
    assert {name for name, value in seen.items() if value == UNKNOWN} == unknown


@pytest.mark.parametrize(
    ("kind", "inputs", "at", "words"),
    [
        (
            "aws:ec2/launchTemplate:LaunchTemplate",
            {"instanceRequirements": {"memoryMib": {"min": 1}}},
            "instanceRequirements",
            "does not model 'instanceRequirements' of aws:ec2/launchTemplate:LaunchTemplate",
        ),
        (
            "aws:ec2/launchTemplate:LaunchTemplate",
            {"blockDeviceMappings": [{"ebs": {"turbo": True}}]},
            "blockDeviceMappings[0].ebs.turbo",
            "use the real plugin",
        ),
        (
            ENVIRONMENT,
            {"type": "MANAGED", "computeResources": {"type": "EC2", "subnets": ["s"]}},
            "computeResources.maxVcpus",
            "missing required property",
        ),
        ("aws:batch/jobQueue:JobQueue", {"priority": 1}, "state", "missing required property"),
        (ENVIRONMENT, {"type": "MANAGED", "computeResources": 5}, "computeResources", "object"),
    ],
)
def test_faults_name_the_attribute_and_the_way_out(
    offline: Engine, kind: str, inputs: dict[str, Any], at: str, words: str
) -> None:
    _, faults = offline.check(offline.urn(kind, "wrong"), inputs)
    assert words in faults[at]


def test_types_functions_and_settings_that_are_not_modelled_are_refused(offline: Engine) -> None:
    with pytest.raises(grpc.RpcError, match="does not model the resource type aws:sqs/queue:Queue"):
        offline.check(offline.urn("aws:sqs/queue:Queue", "q"), {})
    with pytest.raises(grpc.RpcError, match="does not model the function aws:sqs/getQueue"):
        offline.invoke("aws:sqs/getQueue:getQueue")
    with pytest.raises(grpc.RpcError, match="does not model the provider setting 'assumeRoles'"):
        offline.configure(assumeRoles=[{"roleArn": "arn"}])


def test_a_missing_region_says_how_to_set_one(
    offline: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_REGION", raising=False)
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    offline.configure()
    with pytest.raises(grpc.RpcError, match="pulumi config set aws:region"):
        offline.create("aws:cloudwatch/logGroup:LogGroup", "jobs", {})


def test_without_an_endpoint_no_real_account_is_touched(
    offline: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    with pytest.raises(grpc.RpcError, match="does not manage real accounts"):
        offline.create("aws:cloudwatch/logGroup:LogGroup", "jobs", {})


def test_the_plugin_tells_its_version_and_what_it_models(offline: Engine) -> None:
    import json
    from importlib.metadata import version

    from google.protobuf import empty_pb2
    from pulumi.runtime.proto import provider_pb2

    assert offline.stub.GetPluginInfo(empty_pb2.Empty()).version == version("pulumi-aws")
    schema = json.loads(offline.stub.GetSchema(provider_pb2.GetSchemaRequest()).schema)
    assert ENVIRONMENT in schema["resources"]
    request = provider_pb2.ConstructRequest(type="aws:x:Y")
    with pytest.raises(grpc.RpcError) as caught:
        offline.stub.Construct(request)
    assert caught.value.code() == grpc.StatusCode.UNIMPLEMENTED
