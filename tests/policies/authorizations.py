"""Which permissions AWS asks for when a call is made: actions, resources and condition keys.

From the service authorization reference, for the calls that this project makes. A call that is not
known here is an error: nothing passes unseen.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

Line = dict[str, Any]
"""One noted call: service, action, region, account, principal, params, query, tags."""
NEW = "00000000000000000"
"""The ID of something that the call is about to make."""
KINDS = {
    "ami": "image", "i": "instance", "lt": "launch-template", "sg": "security-group",
    "snap": "snapshot", "subnet": "subnet", "vol": "volume", "vpc": "vpc",
}  # fmt: skip
PREFIXES = {kind: prefix for prefix, kind in KINDS.items()}
NEEDS_NOTHING = {"sts:GetCallerIdentity"}


@dataclass(frozen=True)
class Authorization:
    """One question to IAM."""

    action: str
    resource: str
    context: dict[str, Any] = field(default_factory=dict, hash=False)


@dataclass
class Account:
    """What a call leaves unsaid: which role is in which profile."""

    roles: dict[str, str] = field(default_factory=dict)

    def learn(self, line: Line) -> None:
        if line["action"] == "AddRoleToInstanceProfile":
            self.roles[line["params"]["InstanceProfileName"]] = line["params"]["RoleName"]


class Call:
    """A noted call, with the words in which resources and tags are named."""

    def __init__(self, line: Line, account: Account) -> None:
        self.params: dict[str, Any] = line["params"]
        self.service, self.name, self.query = line["service"], line["action"], line["query"]
        self.action = f"{self.service}:{self.name}"
        self.tags, self._line, self._account = line["tags"], line, account

    def arn(self, service: str, resource: str) -> str:
        return f"arn:aws:{service}:{self._line['region']}:{self._line['account']}:{resource}"

    def iam(self, resource: str) -> str:
        return f"arn:aws:iam::{self._line['account']}:{resource}"

    def thing(self, identity: str) -> str:
        """The ARN of a thing of EC2's by its ID."""
        kind = KINDS[identity.partition("-")[0]]
        if kind in ("image", "snapshot"):
            return f"arn:aws:ec2:{self._line['region']}::{kind}/{identity}"
        return self.arn("ec2", f"{kind}/{identity}")

    def held(self, identity: str) -> dict[str, Any]:
        """Condition keys of the tags that it has."""
        tags = self.tags.get(identity, {})
        return {f"aws:ResourceTag/{key}": value for key, value in tags.items()}

    def on(self, identity: str, action: str | None = None, **more: Any) -> Authorization:
        """The call's action, or another, on an existing thing of EC2's."""
        return Authorization(
            action or self.action, self.thing(identity), self.held(identity) | more
        )

    def passes(self, role: str, service: str) -> Authorization:
        return Authorization(
            "iam:PassRole", self.iam(f"role/{role}"), {"iam:PassedToService": service}
        )

    def role_of(self, profile: dict[str, str] | str) -> str:
        """The role in a profile that is named by name or ARN."""
        named = profile if isinstance(profile, str) else profile.get("Name") or profile["Arn"]
        return self._account.roles[named.rpartition("/")[2]]


def requested(tags: Iterable[dict[str, str]] | dict[str, str]) -> dict[str, Any]:
    """Condition keys of the tags in a request."""
    pairs = tags if isinstance(tags, dict) else {t["Key"]: t.get("Value", "") for t in tags}
    keys: dict[str, Any] = {f"aws:RequestTag/{key}": value for key, value in pairs.items()}
    return keys | ({"aws:TagKeys": sorted(pairs)} if pairs else {})


def find_authorizations(lines: Iterable[Line]) -> Iterator[tuple[Line, Authorization]]:
    """Every question that the calls put to IAM, in their order."""
    account = Account()
    for line in lines:
        account.learn(line)
        call = Call(line, account)
        if call.action not in NEEDS_NOTHING:
            for one in RULES.get(call.action, _look)(call):
                yield line, one


def _look(call: Call) -> Iterator[Authorization]:
    """Describing needs the action alone; anything else has to have a rule."""
    assert call.name.startswith(("Describe", "GetCommandInvocation")), f"no rule: {call.action}"
    yield Authorization(call.action, "*")


def _made(call: Call) -> Iterator[Authorization]:
    """A thing of EC2's made by the call with tags on it: both are asked for."""
    for specification in call.params.get("TagSpecifications", []):
        kind, tags = specification["ResourceType"], requested(specification["Tags"])
        resource = call.thing(f"{PREFIXES[kind]}-{NEW}")
        yield Authorization(call.action, resource, tags)
        creation = {"ec2:CreateAction": call.name}
        yield Authorization("ec2:CreateTags", resource, tags | creation)


def _run_instances(call: Call) -> Iterator[Authorization]:
    ask = call.params
    yield from _made(call)
    for identity in (ask["ImageId"], ask["SubnetId"], *ask["SecurityGroupIds"]):
        yield call.on(identity)
    yield Authorization(call.action, call.arn("ec2", f"network-interface/eni-{NEW}"))
    if ask.get("InstanceMarketOptions"):
        yield Authorization(call.action, call.arn("ec2", f"spot-instances-request/sir-{NEW}"))
    yield call.passes(call.role_of(ask["IamInstanceProfile"]), "ec2.amazonaws.com")


def _create_image(call: Call) -> Iterator[Authorization]:
    yield from _made(call)
    yield call.on(call.params["InstanceId"])


def _create_group(call: Call) -> Iterator[Authorization]:
    yield from _made(call)
    yield call.on(call.params["VpcId"])


def _tag(call: Call) -> Iterator[Authorization]:
    for identity in call.params["Resources"]:
        yield call.on(identity, **requested(call.params["Tags"]))


def _on(*names: str) -> Callable[[Call], Iterator[Authorization]]:
    """The rule of an action on the things of EC2's that these parameters name."""

    def rule(call: Call) -> Iterator[Authorization]:
        for name in names:
            found = call.params.get(name) or []
            for identity in [found] if isinstance(found, str) else found:
                yield call.on(identity)

    return rule


def _send_command(call: Call) -> Iterator[Authorization]:
    for identity in call.params["InstanceIds"]:
        yield call.on(identity)
    # AWS's own documents and parameters have ARNs without an account, which the simulator does not
    # take; the documents allow any account there.
    yield Authorization(call.action, call.arn("ssm", f"document/{call.params['DocumentName']}"))


def _parameter(call: Call) -> Iterator[Authorization]:
    yield Authorization(call.action, call.arn("ssm", f"parameter{call.params['Name']}"))


def _repository(call: Call) -> Iterator[Authorization]:
    yield Authorization(call.action, call.arn("ecr", f"repository/{call.params['repositoryName']}"))


def _everywhere(call: Call) -> Iterator[Authorization]:
    yield Authorization(call.action, "*")


def _bucket(call: Call) -> Iterator[Authorization]:
    prefix = {"s3:prefix": call.query["prefix"]} if "prefix" in call.query else {}
    yield Authorization("s3:ListBucket", f"arn:aws:s3:::{call.params['Bucket']}", prefix)


def _object(action: str) -> Callable[[Call], Iterator[Authorization]]:
    def rule(call: Call) -> Iterator[Authorization]:
        name = f"{action}Version" if "versionId" in call.query else action
        yield Authorization(name, f"arn:aws:s3:::{call.params['Bucket']}/{call.params['Key']}")

    return rule


def _role(call: Call) -> Iterator[Authorization]:
    name = call.params["RoleName"]
    services = {
        "AWSServiceRoleForBatch": "batch", "AWSServiceRoleForEC2Spot": "spot",
        "AWSServiceRoleForAutoScaling": "autoscaling",
    }  # fmt: skip
    path = f"aws-service-role/{services[name]}.amazonaws.com/" if name in services else ""
    tags = call.params.get("Tags") or []
    yield Authorization(call.action, call.iam(f"role/{path}{name}"), requested(tags))
    if tags and call.name == "CreateRole":
        yield Authorization("iam:TagRole", call.iam(f"role/{name}"), requested(tags))


def _linked_role(call: Call) -> Iterator[Authorization]:
    service = call.params["AWSServiceName"]
    names = {
        "batch.amazonaws.com": "Batch", "spot.amazonaws.com": "EC2Spot",
        "autoscaling.amazonaws.com": "AutoScaling",
    }  # fmt: skip
    resource = f"role/aws-service-role/{service}/AWSServiceRoleFor{names[service]}"
    yield Authorization(call.action, call.iam(resource), {"iam:AWSServiceName": service})


def _profile(call: Call) -> Iterator[Authorization]:
    resource = call.iam(f"instance-profile/{call.params['InstanceProfileName']}")
    tags = call.params.get("Tags") or []
    yield Authorization(call.action, resource, requested(tags))
    if tags and call.name == "CreateInstanceProfile":
        yield Authorization("iam:TagInstanceProfile", resource, requested(tags))
    if call.name == "AddRoleToInstanceProfile":
        yield call.passes(call.params["RoleName"], "ec2.amazonaws.com")


def _batch(call: Call) -> Iterator[Authorization]:
    """By name or ARN; what is made with tags needs the right to tag; roles are passed on."""
    ask, resources = call.params, []
    kinds = (
        ("compute-environment", ("computeEnvironment", "computeEnvironmentName")),
        ("job-queue", ("jobQueue", "jobQueueName")),
        ("job-definition", ("jobDefinition", "jobDefinitionName")),
    )
    for kind, names in kinds:
        for name in names:
            if name in ask:
                resources.append(_batch_arn(call, kind, ask[name]))
    for order in ask.get("computeEnvironmentOrder", []):
        yield Authorization(call.action, order["computeEnvironment"])
    tags = requested(ask.get("tags") or {})
    for resource in resources:
        yield Authorization(call.action, resource, tags)
        if tags:
            made = f"{resource}:1" if ":job-definition/" in resource else resource
            yield Authorization("batch:TagResource", made, tags)
    role = (ask.get("computeResources") or {}).get("instanceRole")
    if role:
        yield call.passes(call.role_of(role), "batch.amazonaws.com")


def _batch_arn(call: Call, kind: str, named: str) -> str:
    return named if named.startswith("arn:") else call.arn("batch", f"{kind}/{named}")


def _batch_tags(call: Call) -> Iterator[Authorization]:
    resource = call.params["resourceArn"]
    yield Authorization(call.action, resource, requested(call.params.get("tags") or {}))


def _logs(call: Call) -> Iterator[Authorization]:
    ask = call.params
    named = ask.get("resourceArn") or call.arn("logs", f"log-group:{ask.get('logGroupName')}")
    tags = requested(ask.get("tags") or {})
    yield Authorization(call.action, named, tags)
    if tags and call.name == "CreateLogGroup":
        yield Authorization("logs:TagResource", named, tags)


def _stream(call: Call) -> Iterator[Authorization]:
    ask = call.params
    stream = f"log-group:{ask['logGroupName']}:log-stream:{ask['logStreamName']}"
    yield Authorization(call.action, call.arn("logs", stream))


def _cluster(call: Call) -> Iterator[Authorization]:
    named = str(call.params["cluster"])
    yield Authorization(
        call.action, named if named.startswith("arn:") else call.arn("ecs", f"cluster/{named}")
    )


def _key(call: Call) -> Iterator[Authorization]:
    yield Authorization(call.action, call.params["KeyId"])


RULES: dict[str, Callable[[Call], Iterator[Authorization]]] = {
    "ec2:RunInstances": _run_instances,
    "ec2:CreateImage": _create_image,
    "ec2:CreateSecurityGroup": _create_group,
    "ec2:CreateLaunchTemplate": _made,
    "ec2:CreateTags": _tag,
    "ec2:DeleteTags": _tag,
    **dict.fromkeys(
        ("ec2:CreateLaunchTemplateVersion", "ec2:ModifyLaunchTemplate", "ec2:DeleteLaunchTemplate"),
        _on("LaunchTemplateId"),
    ),
    **dict.fromkeys(
        (
            "ec2:AuthorizeSecurityGroupEgress",
            "ec2:DeleteSecurityGroup",
            "ec2:RevokeSecurityGroupEgress",
        ),
        _on("GroupId"),
    ),
    **dict.fromkeys(
        (
            "ec2:DeregisterImage",
            "ec2:DescribeImageAttribute",
            "ec2:DisableImage",
            "ec2:DisableImageDeprecation",
            "ec2:DisableImageDeregistrationProtection",
            "ec2:EnableImage",
            "ec2:EnableImageDeprecation",
            "ec2:EnableImageDeregistrationProtection",
            "ec2:ModifyImageAttribute",
        ),
        _on("ImageId"),
    ),
    **dict.fromkeys(
        (
            "ec2:DeleteSnapshot",
            "ec2:DescribeSnapshotAttribute",
            "ec2:ModifySnapshotAttribute",
        ),
        _on("SnapshotId"),
    ),
    **dict.fromkeys(
        ("ec2:EnableFastSnapshotRestores", "ec2:DisableFastSnapshotRestores"),
        _on("SourceSnapshotIds"),
    ),
    "ec2:TerminateInstances": _on("InstanceIds"),
    "ssm:SendCommand": _send_command,
    "ssm:GetParameter": _parameter,
    "ecr:GetAuthorizationToken": _everywhere,
    **dict.fromkeys(
        (
            "ecr:BatchCheckLayerAvailability",
            "ecr:BatchGetImage",
            "ecr:DescribeImages",
            "ecr:GetDownloadUrlForLayer",
            "ecr:GetLifecyclePolicy",
            "ecr:ListImages",
        ),
        _repository,
    ),
    "s3:HeadBucket": _bucket,
    "s3:ListObjectsV2": _bucket,
    "s3:GetObject": _object("s3:GetObject"),
    "s3:HeadObject": _object("s3:GetObject"),
    "s3:PutObject": _object("s3:PutObject"),
    **dict.fromkeys(
        (
            "iam:CreateRole",
            "iam:DeleteRole",
            "iam:DeleteRolePolicy",
            "iam:GetRole",
            "iam:GetRolePolicy",
            "iam:ListAttachedRolePolicies",
            "iam:ListInstanceProfilesForRole",
            "iam:ListRolePolicies",
            "iam:PutRolePolicy",
            "iam:TagRole",
            "iam:UntagRole",
        ),
        _role,
    ),
    "iam:CreateServiceLinkedRole": _linked_role,
    **dict.fromkeys(
        (
            "iam:AddRoleToInstanceProfile",
            "iam:CreateInstanceProfile",
            "iam:DeleteInstanceProfile",
            "iam:GetInstanceProfile",
            "iam:RemoveRoleFromInstanceProfile",
            "iam:TagInstanceProfile",
            "iam:UntagInstanceProfile",
        ),
        _profile,
    ),
    **dict.fromkeys(
        (
            "batch:CreateComputeEnvironment",
            "batch:CreateJobQueue",
            "batch:DeleteComputeEnvironment",
            "batch:DeleteJobQueue",
            "batch:DeregisterJobDefinition",
            "batch:RegisterJobDefinition",
            "batch:UpdateComputeEnvironment",
            "batch:UpdateJobQueue",
        ),
        _batch,
    ),
    **dict.fromkeys(("logs:CreateLogStream", "logs:PutLogEvents"), _stream),
    **dict.fromkeys(("batch:TagResource", "batch:UntagResource"), _batch_tags),
    **dict.fromkeys(
        (
            "logs:CreateLogGroup",
            "logs:DeleteLogGroup",
            "logs:ListTagsForResource",
            "logs:PutRetentionPolicy",
            "logs:TagResource",
            "logs:UntagResource",
        ),
        _logs,
    ),
    "ecs:DeregisterContainerInstance": _cluster,
    "ecs:DiscoverPollEndpoint": _everywhere,
    "ecs:RegisterContainerInstance": _cluster,
    **dict.fromkeys(
        ("kms:CreateGrant", "kms:DescribeKey", "kms:ListGrants", "kms:RevokeGrant"), _key
    ),
}
