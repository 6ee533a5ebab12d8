"""The whole life of a stack on a local cloud that notes what each call asked for, and of whom."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.program.changes import push_another_image
from tests.program.conftest import LocalCloud, Stack

ZONE = "ap-northeast-2a"
REPOSITORY = "batch-processor"
EXPIRY = {
    "rules": [
        {
            "rulePriority": 1,
            "selection": {
                "tagStatus": "untagged",
                "countType": "sinceImagePushed",
                "countUnit": "days",
                "countNumber": 365,
            },
            "action": {"type": "expire"},
        }
    ]
}


@dataclass
class Lived:
    """What is left of a life: the customer key's ARN, and what was noted while previews ran."""

    details: Path
    key: str = ""
    previewed: list[dict[str, Any]] = field(default_factory=list)

    def preview(self, stack: Stack, told: str = "") -> None:
        """A preview that says this, and succeeds if nothing has to be said."""
        before = len(read(self.details))
        run = stack.preview()
        assert told in run.text if told else run.status == 0, run.text
        self.previewed += read(self.details)[before:]


def live(cloud: LocalCloud, stack: Stack, details: Path) -> Lived:
    """Everything that people do with a stack, in the fewest updates."""
    lived = Lived(details)
    lived.preview(stack)
    stack.up("--skip-preview")
    stack.up("--expect-no-changes")
    lived.key = str(cloud.client("kms").create_key()["KeyMetadata"]["Arn"])
    stack.set(imageTag="no-such-tag")
    lived.preview(stack, "has no tag 'no-such-tag'")
    ecr = cloud.client("ecr")
    ecr.put_lifecycle_policy(repositoryName=REPOSITORY, lifecyclePolicyText=json.dumps(EXPIRY))
    digest = push_another_image(ecr, REPOSITORY, "latest")
    first = stack.outputs()["amiId"]
    cloud.client("ec2").enable_image_deregistration_protection(ImageId=first)
    stack.set(imageTag=None, imageDigest=digest, encryptionKey=lived.key)
    lived.preview(stack)
    stack.up("--skip-preview")
    ami = stack.outputs()["amiId"]
    stack.set(
        tags={"environment": "local", "colour": "blue"},
        batch={
            "maxVcpus": 8,
            "onDemandMaxVcpus": 4,
            "logRetentionDays": 3,
            "volumeInitializationRate": "off",
            "fastSnapshotRestoreZones": [ZONE],
        },
    )
    stack.up("--skip-preview")
    cloud.client("ec2").disable_image(ImageId=ami)
    stack.set(tags={"colour": "green"})
    stack.up("--skip-preview", "--refresh")
    cloud.client("ec2").deregister_image(ImageId=ami)
    refreshed = stack.pulumi("refresh", "--yes", "--non-interactive", "--color", "never")
    assert refreshed.status == 0, refreshed.text
    gone = stack.pulumi("destroy", "--yes", "--non-interactive", "--color", "never")
    assert gone.status == 0, gone.text
    return lived


def read(file: Path) -> list[dict[str, Any]]:
    """What was noted, oldest first."""
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
