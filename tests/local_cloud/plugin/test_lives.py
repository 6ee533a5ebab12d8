"""Every resource type's life: made, refreshed without drift, changed in place, replaced, gone."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.local_cloud.plugin.conftest import Resource

VPC = "vpc-0a10ca1000000000a"
TRUST = json.dumps(
    {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Principal": {"Service": "ec2.amazonaws.com"},
                "Action": "sts:AssumeRole",
            }
        ],
    }
)
POLICY = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Action": "ecs:Poll", "Resource": "*"}],
}
OTHER_POLICY = json.dumps(POLICY | {"Version": "2012-10-17", "Id": "other"})


@dataclass(frozen=True)
class Life:
    """`in_place` and `replacing` are changes of the inputs; the paths are what a preview names."""

    kind: str
    inputs: dict[str, Any]
    outputs: tuple[str, ...]
    in_place: dict[str, Any] = field(default_factory=dict)
    paths: tuple[str, ...] = ()
    replacing: dict[str, Any] = field(default_factory=dict)


#: What only the state knows.
NOT_IN_AWS = {"forceDelete", "forceDestroy"}
LIVES = [
    Life(
        "aws:cloudwatch/logGroup:LogGroup",
        {"retentionInDays": 30, "tags": {"a": "1"}},
        ("arn", "tagsAll"),
        {"retentionInDays": 60, "tags": {"a": "2"}},
        ("retentionInDays", "tags"),
        {"name": "another"},
    ),
    Life(
        "aws:iam/role:Role",
        {"assumeRolePolicy": TRUST, "description": "one", "tags": {"a": "1"}},
        ("arn", "uniqueId", "createDate"),
        {"description": "two", "tags": {"b": "1"}, "maxSessionDuration": 7200},
        ("description", "maxSessionDuration", "tags"),
        {"path": "/other/"},
    ),
    Life(
        "aws:iam/policy:Policy",
        {"policy": json.dumps(POLICY), "description": "one"},
        ("arn", "policyId"),
        {"policy": OTHER_POLICY},
        ("policy",),
        {"description": "two"},
    ),
    Life(
        "aws:iam/serviceLinkedRole:ServiceLinkedRole",
        {"awsServiceName": "spot.amazonaws.com"},
        ("arn", "name", "uniqueId"),
        replacing={"awsServiceName": "batch.amazonaws.com"},
    ),
    Life(
        "aws:ec2/securityGroup:SecurityGroup",
        {
            "vpcId": VPC,
            "egress": [
                {
                    "protocol": "tcp",
                    "fromPort": 443,
                    "toPort": 443,
                    "cidrBlocks": ["0.0.0.0/0"],
                    "description": "out",
                }
            ],
            "ingress": [{"protocol": "-1", "fromPort": 0, "toPort": 0, "self": True}],
        },
        ("arn", "ownerId", "name"),
        {"tags": {"a": "1"}, "ingress": []},
        ("ingress", "tags"),
        {"description": "another"},
    ),
    Life(
        "aws:ec2/launchTemplate:LaunchTemplate",
        {
            "instanceType": "g5.xlarge",
            "blockDeviceMappings": [
                {
                    "deviceName": "/dev/xvda",
                    "ebs": {
                        "volumeSize": 30,
                        "volumeType": "gp3",
                        "iops": 3000,
                        "throughput": 250,
                        "volumeInitializationRate": 300,
                        "deleteOnTermination": "true",
                    },
                }
            ],
            "metadataOptions": {"httpTokens": "required", "httpPutResponseHopLimit": 2},
            "tagSpecifications": [{"resourceType": "instance", "tags": {"Name": "host"}}],
            "iamInstanceProfile": {"name": "host"},
            "vpcSecurityGroupIds": ["sg-0a10ca1000000000f"],
            "userData": "aGVsbG8=",
            "monitoring": {"enabled": True},
            "tags": {"a": "1"},
        },
        ("arn", "latestVersion", "defaultVersion"),
        {"instanceType": "g5.2xlarge", "tags": {"a": "2"}},
        ("instanceType", "tags"),
        {"name": "another"},
    ),
    Life(
        "aws:ecr/repository:Repository",
        {"forceDelete": True, "imageScanningConfiguration": {"scanOnPush": True}},
        ("arn", "registryId", "repositoryUrl"),
        {"imageTagMutability": "IMMUTABLE", "tags": {"a": "1"}},
        ("imageTagMutability", "tags"),
        {"name": "another"},
    ),
    Life(
        "aws:s3/bucket:Bucket",
        {"forceDestroy": True, "tags": {"a": "1"}},
        ("arn", "bucketDomainName", "bucketRegionalDomainName"),
        {"versioning": {"enabled": True}, "tags": {"a": "2"}},
        ("tags", "versioning.enabled"),
        {"bucket": "another"},
    ),
    Life(
        "aws:batch/jobDefinition:JobDefinition",
        {
            "type": "container",
            "platformCapabilities": ["EC2"],
            "containerProperties": json.dumps(
                {
                    "image": "one",
                    "environment": [],
                    "resourceRequirements": [
                        {"type": "VCPU", "value": "1"},
                        {"type": "MEMORY", "value": "128"},
                    ],
                }
            ),
            "retryStrategy": {
                "attempts": 3,
                "evaluateOnExits": [{"action": "retry", "onStatusReason": "Host EC2*"}],
            },
            "timeout": {"attemptDurationSeconds": 60},
            "propagateTags": True,
        },
        ("arn", "revision", "arnPrefix"),
        {"timeout": {"attemptDurationSeconds": 120}},
        ("timeout.attemptDurationSeconds",),
        {"name": "another"},
    ),
]


@pytest.mark.parametrize("life", LIVES, ids=lambda life: life.kind.rpartition(":")[2])
def test_a_life(engine: Any, life: Life) -> None:
    made = engine.create(life.kind, "thing", life.inputs)
    assert made.id
    for output in life.outputs:
        assert output in made.state
    assert engine.diff(made, life.inputs).nothing

    refreshed = engine.read(made)
    assert refreshed.inputs == made.inputs, "a refresh shows drift where there is none"
    assert refreshed.state == made.state
    assert engine.diff(refreshed, life.inputs).nothing

    found = engine.read(Resource(made.urn, made.id, {}, {}))
    imported = {key: value for key, value in found.inputs.items() if key != "__defaults"}
    assert engine.diff(found, imported).nothing, "what is imported can be given as it was found"
    assert set(life.inputs) - NOT_IN_AWS <= set(imported)

    if life.in_place:
        wanted = life.inputs | life.in_place
        seen = engine.diff(made, wanted)
        assert seen.replacing == []
        assert set(life.paths) <= set(seen.in_place)
        made = engine.update(made, wanted)
        assert engine.diff(made, wanted).nothing
        refreshed = engine.read(made)
        assert refreshed.inputs == made.inputs
        assert refreshed.state == made.state

    assert engine.diff(made, made.inputs | life.replacing).replacing == sorted(life.replacing)
    engine.delete(made)
    assert engine.read(made) is None
    engine.delete(made)  # whoever asks twice gets no error


def test_things_that_belong_to_a_role(engine: Any) -> None:
    role = engine.create("aws:iam/role:Role", "owner", {"assumeRolePolicy": TRUST})
    name = role.state["name"]
    policy = engine.create("aws:iam/policy:Policy", "shared", {"policy": POLICY})
    lives: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
        (
            "aws:iam/rolePolicy:RolePolicy",
            {"role": name, "policy": json.dumps(POLICY)},
            {"policy": OTHER_POLICY},
        ),
        (
            "aws:iam/rolePolicyAttachment:RolePolicyAttachment",
            {"role": name, "policyArn": policy.id},
            {},
        ),
        ("aws:iam/instanceProfile:InstanceProfile", {"role": name}, {"tags": {"a": "1"}}),
    ]
    made = []
    for kind, inputs, changes in lives:
        one = engine.create(kind, "part", inputs)
        refreshed = engine.read(one)
        assert refreshed.inputs == one.inputs
        assert engine.diff(refreshed, inputs).nothing
        assert engine.diff(one, inputs | {"role": "other"}).replacing == (
            [] if kind.endswith("InstanceProfile") else ["role"]
        )
        if changes:
            assert engine.diff(one, inputs | changes).replacing == []
            one = engine.update(one, inputs | changes)
        made.append(one)
    for one in [*reversed(made), policy, role]:
        engine.delete(one)
        assert engine.read(one) is None


def test_rules_beside_a_group(engine: Any) -> None:
    group = engine.create("aws:ec2/securityGroup:SecurityGroup", "alone", {"vpcId": VPC})
    assert group.state["egress"] == []  # EC2's own "all outbound" is taken away
    everything = {
        "securityGroupId": group.id,
        "ipProtocol": "-1",
        "cidrIpv4": "0.0.0.0/0",
        "description": "out",
    }
    kinds = ("Egress", "Ingress")
    rules = [
        engine.create(f"aws:vpc/securityGroup{way}Rule:SecurityGroup{way}Rule", "rule", everything)
        for way in kinds
    ]
    for rule in rules:
        assert engine.read(rule).inputs == rule.inputs
        assert engine.diff(rule, everything | {"securityGroupId": "sg-1"}).replacing
    group = engine.update(group, {"vpcId": VPC, "tags": {"a": "1"}})
    assert len(group.state["egress"]) == 1, "a rule beside the group survives the group's update"
    for one in [*rules, group]:
        engine.delete(one)
        assert engine.read(one) is None


def test_a_grant_on_a_key(engine: Any, aws: Any) -> None:
    key = aws.client("kms").create_key()["KeyMetadata"]["Arn"]
    role = "arn:aws:iam::123456789012:role/aws-service-role/spot.amazonaws.com/Spot"
    inputs = {"keyId": key, "granteePrincipal": role, "operations": ["Decrypt", "CreateGrant"]}
    made = engine.create("aws:kms/grant:Grant", "spot", inputs)
    assert made.state["grantId"]
    (grant,) = aws.client("kms").list_grants(KeyId=key)["Grants"]
    assert (grant["GranteePrincipal"], sorted(grant["Operations"])) == (
        role,
        ["CreateGrant", "Decrypt"],
    )
    assert engine.read(made).inputs == made.inputs
    assert engine.diff(made, inputs | {"operations": ["Decrypt"]}).replacing == ["operations"]
    engine.delete(made)
    assert engine.read(made) is None
    engine.delete(made)


def test_fast_snapshot_restore(engine: Any, aws: Any) -> None:
    ec2 = aws.client("ec2")
    volume = ec2.create_volume(AvailabilityZone="ap-northeast-2a", Size=1)["VolumeId"]
    snapshot = ec2.create_snapshot(VolumeId=volume)["SnapshotId"]
    inputs = {"availabilityZone": "ap-northeast-2a", "snapshotId": snapshot}
    made = engine.create("aws:ebs/fastSnapshotRestore:FastSnapshotRestore", "warm", inputs)
    assert made.state["state"] == "enabled"
    assert engine.read(made).inputs == made.inputs
    assert engine.diff(made, inputs | {"snapshotId": "snap-1"}).replacing == ["snapshotId"]
    engine.delete(made)
    assert engine.read(made) is None
    assert ec2.describe_fast_snapshot_restores()["FastSnapshotRestores"] == []
    engine.delete(made)


def test_objects_in_a_bucket(engine: Any, aws: Any) -> None:
    bucket = engine.create("aws:s3/bucket:Bucket", "models", {"forceDestroy": True})
    inputs = {"bucket": bucket.id, "content": "one"}
    for kind in ("aws:s3/bucketObject:BucketObject", "aws:s3/bucketObjectv2:BucketObjectv2"):
        made = engine.create(kind, "a.txt", inputs)
        assert made.state["key"] == "a.txt"
        assert engine.read(made).inputs == made.inputs
        assert engine.diff(made, inputs | {"content": "two"}).in_place == ["content"]
        made = engine.update(made, inputs | {"content": "two"})
        body = aws.client("s3").get_object(Bucket=bucket.id, Key="a.txt")["Body"].read()
        assert body == b"two"
    engine.delete(bucket)
    assert engine.read(bucket) is None
