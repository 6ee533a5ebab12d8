"""A table of inputs that are wrong by themselves, each with the one sentence it gets."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from botocore.exceptions import EndpointConnectionError

from ami_provider.asked import read_inputs
from ami_provider.checking import check_inputs
from ami_provider.faults import FaultsError
from tests.ami_provider.samples import REGION, REPOSITORY, inputs

S = "f" * 64
A = "111111111111"
MODEL = {"source": "s3://local-ml-models/m.pt", "destination": "/opt/ml/models/m.pt"}
HTTP = {"source": "https://models.example/m.pt", "destination": "/opt/ml/models/m.pt"}

# where the value goes, the value, the property that is named, a part of the sentence
TABLE: list[tuple[str, Any, str, str]] = [
    ("recipe.images", [], "recipe.images", "must name at least one"),
    ("recipe.images", "latest", "recipe.images", "must be a list, not \"latest\""),
    ("recipe.images.0.repository", "batch-processor", "recipe.images[0].repository",
     "is not the URI of an ECR repository"),
    ("recipe.images.0.repository", f"{REPOSITORY}:v1", "recipe.images[0].repository",
     f"Write '{REPOSITORY}', and give tag or digest"),
    ("recipe.images.0.repository", f"https://{REPOSITORY}", "recipe.images[0].repository",
     f"Write '{REPOSITORY}'"),
    ("recipe.images.0.repository", 7, "recipe.images[0].repository", "must be text, not 7"),
    ("recipe.images.0.tag", "a b", "recipe.images[0].tag", "is not an image tag"),
    ("recipe.images.0.tag", "", "recipe.images[0].tag", "is not an image tag"),
    ("recipe.images.0.tag", None, "recipe.images[0].tag", "neither tag nor digest"),
    ("recipe.images.0.digest", f"sha256:{S}", "recipe.images[0].digest", "keep one of them"),
    ("recipe.images.0.digest", "sha256:12", "recipe.images[0].digest", "is not an image digest"),
    ("recipe.images.0.digest", f"sha256:{S.upper()}", "recipe.images[0].digest", "in lower case"),
    ("recipe.images.0.tags", "x", "recipe.images[0].tags", "Did you mean tag?"),
    ("recipe.images", [{"repository": REPOSITORY, "tag": "a"}] * 2, "recipe.images[1]",
     "is the same as images[0]"),
    ("recipe.image", [], "recipe.image", "Did you mean images?"),
    ("recipe.base", "al2022-gpu", "recipe.base.source", "is not a base AMI"),
    ("recipe.base", {"source": "ami-xyz"}, "recipe.base.source", "is not a base AMI"),
    ("recipe.base", {"family": "ubuntu"}, "recipe.base.family", "must be 'al2023' or 'al2'"),
    ("recipe.models", [{**MODEL, "source": "m.pt"}], "recipe.models[0].source",
     "is not a model source"),
    ("recipe.models", [{**MODEL, "source": "ftp://h/m"}], "recipe.models[0].source",
     "is not a model source"),
    ("recipe.models", [{**MODEL, "source": "s3://local-ml-models"}], "recipe.models[0].source",
     "is not a model source"),
    ("recipe.models", [{**MODEL, "source": "s3://B/k"}], "recipe.models[0].source",
     "has no valid bucket name"),
    ("recipe.models", [{**HTTP, "source": "https://u:p@h/m"}], "recipe.models[0].source",
     "holds a user name or password"),
    ("recipe.models", [{**HTTP, "source": "https://h/m?v=1&X-Amz-Signature=ab", "sha256": S}],
     "recipe.models[0].source", "is a signed URL"),
    ("recipe.models", [{**HTTP, "source": "https://h/m?sv=2&sig=ab", "sha256": S}],
     "recipe.models[0].source", "is a signed URL"),
    ("recipe.models", [{**HTTP, "source": "https://h/m?api_key=ab", "sha256": S}],
     "recipe.models[0].source", "is a signed URL"),
    ("recipe.models", [{**HTTP, "source": "https://h/my m.pt?a=é", "sha256": S}],
     "recipe.models[0].source", "https://h/my%20m.pt?a=%C3%A9"),
    ("recipe.models", [{**HTTP, "checksums": "https://h/SUMS?X-Amz-Signature=ab"}],
     "recipe.models[0].checksums", "is a signed URL"),
    ("recipe.models", [{**HTTP, "checksums": "https://u:p@h/SUMS"}],
     "recipe.models[0].checksums", "holds a user name or password"),
    ("site.logs", "my-logs", "site.logs", "is not a place in S3"),
    ("site.smoke_command", "", "site.smoke_command", "at least 1 character"),
    ("recipe.models", [HTTP], "recipe.models[0].sha256", "a web server promises nothing"),
    ("recipe.models", [{**HTTP, "sha256": "12"}], "recipe.models[0].sha256", "is not a SHA-256"),
    ("recipe.models", [{**HTTP, "checksums": "SUMS"}], "recipe.models[0].checksums",
     "is not an http(s) URL"),
    ("recipe.models", [{**MODEL, "checksums": "https://h/S"}], "recipe.models[0].checksums",
     "only for http(s) sources"),
    ("recipe.models", [{"source": "s3://bkt/p/", "destination": "/opt/m", "sha256": S}],
     "recipe.models[0].sha256", "is a prefix of many objects"),
    ("recipe.models", [{**MODEL, "destination": "models/m.pt"}], "recipe.models[0].destination",
     "is not an absolute path"),
    ("recipe.models", [{**MODEL, "destination": "/"}], "recipe.models[0].destination",
     "is not an absolute path"),
    ("recipe.models", [{**MODEL, "destination": "/opt/ml/"}], "recipe.models[0].destination",
     "Add the file's name"),
    ("recipe.models", [{**MODEL, "destination": "/opt/../etc/x"}], "recipe.models[0].destination",
     "must be a plain path"),
    ("recipe.models", [{**MODEL, "destination": "/opt/a b"}], "recipe.models[0].destination",
     "has a blank"),
    ("recipe.models", [{**MODEL, "destination": "/tmp/m.pt"}], "recipe.models[0].destination",
     "is under /tmp"),
    ("recipe.models", [{**MODEL, "destination": "/var/lib/docker/m"}],
     "recipe.models[0].destination", "is under /var/lib/docker"),
    ("recipe.models", [MODEL, MODEL], "recipe.models[1].destination",
     "is the destination of models[0] too"),
    ("recipe.models", [MODEL, {**MODEL, "destination": "/opt/ml/models/m.pt/x"}],
     "recipe.models[1].destination", "is below '/opt/ml/models/m.pt', the file of models[0]. "),
    ("recipe.models", [{"source": "s3://bkt/k"}], "recipe.models[0].destination", "is required"),
    ("recipe.extra_steps", [{"name": "Two Words", "script": "true"}],
     "recipe.extra_steps[0].name", "is not a step name"),
    ("recipe.extra_steps", [{"name": "a", "script": "\n"}], "recipe.extra_steps[0].script",
     "is empty"),
    ("recipe.extra_steps", [{"name": "a", "script": "x" * 40000}],
     "recipe.extra_steps[0].script", "has 40000 bytes"),
    ("recipe.extra_steps", [{"name": "a", "script": "true"}] * 2, "recipe.extra_steps[1].name",
     "is the name of extra_steps[0] too"),
    ("recipe.agent", {"image_pull_behavior": "never"}, "recipe.agent.image_pull_behavior",
     "must be 'default', 'always', 'once' or 'prefer-cached'"),
    ("recipe.agent", {"gpu_support": "yes"}, "recipe.agent.gpu_support", "must be true or false"),
    ("recipe.agent", {"extra": {"ECS_CLUSTER": "x"}}, "recipe.agent.extra.ECS_CLUSTER",
     "is set by Batch at boot"),
    ("recipe.agent", {"extra": {"ECS_ENGINE_AUTH_DATA": "x"}},
     "recipe.agent.extra.ECS_ENGINE_AUTH_DATA", "puts a credential into the AMI"),
    ("recipe.agent", {"extra": {"PATH": "x"}}, "recipe.agent.extra.PATH", "start with ECS_"),
    ("recipe.agent", {"extra": {"ECS_LOGLEVEL": "a\nb"}}, "recipe.agent.extra.ECS_LOGLEVEL",
     "holds a line break"),
    ("recipe.system_update", {"hold": ["kernel*", "rm -rf /"]}, "recipe.system_update.hold[1]",
     "is not a package name"),
    ("recipe.root_volume", {"size_gib": "30"}, "recipe.root_volume.size_gib",
     "must be a whole number"),
    ("recipe.root_volume", {"size_gib": 30.5}, "recipe.root_volume.size_gib",
     "must be a whole number"),
    ("recipe.root_volume", {"size_gib": 0}, "recipe.root_volume.size_gib", "must be at least 1"),
    ("recipe.root_volume", {"type": "st1"}, "recipe.root_volume.type", "must be 'gp3'"),
    ("recipe.root_volume", {"type": "io2"}, "recipe.root_volume.iops", "is required for io2"),
    ("recipe.root_volume", {"type": "gp2", "iops": 3000}, "recipe.root_volume.iops",
     "cannot be set for gp2"),
    ("recipe.root_volume", {"throughput": 1000}, "recipe.root_volume.throughput",
     "needs iops of at least 4000"),
    ("recipe.root_volume", {"iops": 16000}, "recipe.root_volume.iops",
     "needs size_gib of at least 32: EBS takes at most 500 IOPS for each GiB of gp3"),
    ("recipe.root_volume", {"type": "io2", "size_gib": 4, "iops": 4001}, "recipe.root_volume.iops",
     "needs size_gib of at least 5"),
    ("recipe.root_volume", {"type": "io1", "size_gib": 9000, "iops": 70000},
     "recipe.root_volume.iops", "must be at most 64000 for io1"),
    ("recipe.root_volume", {"iops": 100}, "recipe.root_volume.iops", "must be 3000 to 80000"),
    ("recipe.encryption_key", "my key", "recipe.encryption_key", "is not a KMS key"),
    ("site.region", "Seoul", "site.region", "is not a region"),
    ("site.region", None, "site.region", "is required"),
    ("site.subnet_ids", [], "site.subnet_ids", "must name at least one"),
    ("site.subnet_ids", ["subnet-1"], "site.subnet_ids[0]", "is not an ID such as subnet-"),
    ("site.subnet_ids", ["subnet-0a10ca10000000001"] * 2, "site.subnet_ids[1]", "given twice"),
    ("site.security_group_ids", ["default"], "site.security_group_ids[0]",
     "is not an ID such as sg-"),
    ("site.instance_types", ["g5"], "site.instance_types[0]", "is not an instance type"),
    ("site.instance_profile", "arn:aws:iam::123456789012:role/x", "site.instance_profile",
     "Give the instance profile that holds it"),
    ("site.instance_profile", "a b", "site.instance_profile", "is not an instance profile"),
    ("site.capacity", "cheap", "site.capacity", "must be 'spot', 'spot-then-on-demand'"),
    ("site.verify", "maybe", "site.verify", "must be on, off, or an instance type"),
    ("site.timeouts", {"pull": 0}, "site.timeouts.pull", "must be at least 1"),
    ("site.timeouts", {"pul": 5}, "site.timeouts.pul", "Did you mean pull?"),
    ("site.on_failure", "panic", "site.on_failure", "must be 'cleanup' or 'keep'"),
    ("site.base_update", "sometimes", "site.base_update", "must be 'with-content'"),
    ("tags", {"aws:x": "y"}, "tags.aws:x", "not for your own tags"),
    ("tags", {"baked-ami:fingerprint": "y"}, "tags.baked-ami:fingerprint", "Rename it"),
    ("tags", {"k": "v" * 300}, "tags.k", "EC2 takes 256"),
    ("tags", {f"k{i}": "v" for i in range(40)}, "tags", "at most 35"),
    ("lineage.name", "gpu ami", "lineage.name", "becomes part of the AMI's name"),
    ("keep", -1, "keep", "must be at least 0, not -1"),
    ("keep", 101, "keep", "must be at most 100"),
    ("trusted_owners", ["partner"], "trusted_owners[0]", "is not an account ID: 12 digits"),
    ("trusted_owners", [A, A], "trusted_owners[1]", "is given twice"),
    ("publication", {"share_with": [A, "12"]}, "publication.share_with[1]", "12 digits, as text"),
    ("publication", {"share_with": [A, A]}, "publication.share_with[1]", "is given twice"),
    ("publication", {"share_with": [f"{n:012d}" for n in range(41)]}, "publication.share_with",
     "has 41 accounts; at most 40"),
    ("publication", {"share_snapshots": True}, "publication.share_snapshots",
     "share_with names no account"),
    ("publication", {"shared_with": [A]}, "publication.shared_with", "Did you mean share_with?"),
    ("publication", {"copies": [{"region": "Oregon"}]}, "publication.copies[0].region",
     "is not a region"),
    ("publication", {"copies": [{"region": "us-west-2"}] * 2}, "publication.copies[1].region",
     "is the region of copies[0] too"),
    ("publication", {"copies": [{"region": f"us-west-{n}"} for n in range(10)]
                     + [{"region": "us-east-1"}]}, "publication.copies", "at most 10"),
    ("publication", {"copies": [{"region": REGION}]}, "publication.copies[0].region",
     "is the AMI's own region"),
    ("publication", {"copies": [{"region": "us-west-2", "encryption_key": "my key"}]},
     "publication.copies[0].encryption_key", "is not a KMS key"),
    ("publication", {"copies": [{"region": "us-west-2", "encryption_key":
                                 f"arn:aws:kms:us-east-1:{A}:key/1"}]},
     "publication.copies[0].encryption_key", "is a key of us-east-1, but the copy is in us-west-2"),
    ("publication", {"deprecate_after_days": 0}, "publication.deprecate_after_days", "at least 1"),
    ("publication", {"deprecate_after_days": 4000}, "publication.deprecate_after_days",
     "at most 3650"),
    ("publication", {"deprecate_at": "next year"}, "publication.deprecate_at", "is not a time"),
    ("publication", {"deprecate_at": "2030-01-01", "deprecate_after_days": 9},
     "publication.deprecate_at", "is given beside deprecate_after_days"),
    ("publication", {"deregistration_protection": "on"}, "publication.deregistration_protection",
     "must be true or false"),
]  # fmt: skip


def put(place: str, value: Any) -> dict[str, Any]:
    """The sample inputs with one value put in; None takes the value away."""
    given = inputs()
    *above, last = place.split(".")
    here: Any = given
    for part in above:
        here = here[int(part)] if part.isdigit() else here[part]
    if value is None:
        del here[last]
    else:
        here[last] = value
    return given


@pytest.mark.parametrize(
    ("place", "value", "path", "reason"), TABLE, ids=[f"{t[2]}-{t[3][:30]}" for t in TABLE]
)
def test_it_is_refused_on_its_own_property(place: str, value: Any, path: str, reason: str) -> None:
    with pytest.raises(FaultsError) as refused:
        read_inputs(put(place, value))
    found = {fault.path: fault.reason for fault in refused.value.faults}
    assert path in found
    assert reason in found[path]
    assert found[path].endswith((".", "?", ")"))
    assert len(refused.value.faults) == 1


class Nowhere:
    """AWS out of reach: every call fails as without a network."""

    region = REGION

    def __getattr__(self, name: str) -> Any:
        def fail(*_: Any, **__: Any) -> Any:
            raise EndpointConnectionError(endpoint_url=f"https://{name}")

        clients = ("client", "ec2", "ssm", "s3", "iam", "sts", "at", "get_paginator")
        return self if name in clients else fail

    def __call__(self, *_: Any, **__: Any) -> Any:
        return self

    def paginate(self, **_: Any) -> Iterator[Any]:
        yield self.describe()


@pytest.mark.parametrize(
    ("place", "value", "path", "reason"), TABLE, ids=[f"{t[2]}-{t[3][:30]}" for t in TABLE]
)
def test_it_is_told_beside_what_aws_answers_to_the_rest(
    place: str, value: Any, path: str, reason: str
) -> None:
    """What is malformed keeps nothing else from being looked up."""
    with pytest.raises(FaultsError) as refused:
        check_inputs({}, put(place, value), lambda _: Nowhere())  # type: ignore[arg-type, return-value]
    found = {fault.path: fault.reason for fault in refused.value.faults}
    assert reason in found.pop(path)
    # Without its region there is nobody to ask.
    asked = any("does not answer there" in reason for reason in found.values())
    assert asked or place == "site.region"


def test_all_faults_are_told_in_one_go() -> None:
    given = put("recipe.images.0.tag", "a b")
    given["recipe"]["root_volume"] = {"size_gib": 0}
    given["site"]["subnet_ids"] = ["x"]
    given["site"]["capacity"] = "cheap"
    given["tags"] = {"aws:x": "y"}
    with pytest.raises(FaultsError) as refused:
        read_inputs(given)
    assert {fault.path for fault in refused.value.faults} == {
        "recipe.images[0].tag",
        "recipe.root_volume.size_gib",
        "site.subnet_ids[0]",
        "site.capacity",
        "tags.aws:x",
    }


def test_an_encrypted_ami_is_copied_with_a_key_of_each_region_and_shared_with_ones_own() -> None:
    given = put("recipe.encryption_key", "alias/aws/ebs")
    given["publication"] = {"share_with": [A], "copies": [{"region": "us-west-2"}]}
    with pytest.raises(FaultsError) as refused:
        read_inputs(given)
    found = {fault.path: fault.reason for fault in refused.value.faults}
    assert "Name a key of us-west-2." in found.pop("publication.copies[0].encryption_key")
    assert "a key of AWS's own, and what it encrypts cannot be shared" in found.pop(
        "publication.share_with"
    )
    assert found == {}


def test_the_table_is_long_enough() -> None:
    assert len(TABLE) >= 60


def test_good_inputs_are_taken_as_pulumi_sends_them() -> None:
    given = put("recipe.root_volume", {"size_gib": 40.0, "type": "gp3"})
    given["recipe"]["base"] = "al2-gpu"
    asked = read_inputs(given)
    assert asked.recipe.root_volume.size_gib == 40
    assert asked.recipe.base.source == "al2-gpu"
    assert asked.site.instance_types == ("g5.xlarge",)
    assert asked.unknown == frozenset()


def test_a_smoke_command_needs_the_machine_that_verification_boots() -> None:
    given = inputs()
    given["site"] |= {"verify": "off", "smoke_command": "true"}

    with pytest.raises(FaultsError) as raised:
        read_inputs(given)

    (fault,) = raised.value.faults
    assert fault.path == "site.smoke_command"
    assert "Set verify to on" in fault.reason
