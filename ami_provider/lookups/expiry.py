"""Would the repository's own lifecycle policy take away an image that is pinned by digest?"""

from __future__ import annotations

import json
from fnmatch import fnmatchcase
from typing import Any

from ami_provider import errors
from ami_provider.aws import Aws
from ami_provider.contents import REPOSITORY, ContainerImage


def find_expiry(image: ContainerImage, aws: Aws) -> list[str]:
    """A sentence where a rule of the policy selects the pinned image; none for images by tag.

    What such a rule selects goes sooner or later, by age or when enough newer images are pushed;
    the AMI then stays good, but cannot be baked again.
    """
    if image.digest is None:
        return []
    found = REPOSITORY.fullmatch(image.repository)
    assert found is not None  # ContainerImage has checked it.
    ecr = aws.client("ecr", found["region"])
    where = {"registryId": found["account"], "repositoryName": found["name"]}
    try:
        policy = json.loads(ecr.get_lifecycle_policy(**where)["lifecyclePolicyText"])
        details = ecr.describe_images(**where, imageIds=[{"imageDigest": image.digest}])
    except Exception as error:
        if not errors.is_aws_error(error):
            raise
        if errors.is_not_found(error):
            return []
        why = errors.explain_aws(error, "ecr:GetLifecyclePolicy", on=found["name"])
        return [f"the lifecycle policy of {found['name']} cannot be read: {why}"]
    tags = list(details["imageDetails"][0].get("imageTags", []))
    rules = sorted(policy.get("rules", []), key=lambda rule: int(rule["rulePriority"]))
    rule = next((r for r in rules if _selects(r["selection"], tags)), None)
    if rule is None:
        return []
    return [
        f"rule {rule['rulePriority']} of the lifecycle policy of {found['name']} expires "
        f"{image.digest[:19]}… {_when(rule['selection'])}. Give the image a tag that no rule "
        f"selects, or change the rule."
    ]


def _selects(selection: dict[str, Any], tags: list[str]) -> bool:
    """As ECR does: of several prefixes or patterns, each has to fit some tag of the image."""
    status = selection["tagStatus"]
    if status == "any":
        return True
    if status == "untagged":
        return not tags
    patterns = [
        *(f"{prefix}*" for prefix in selection.get("tagPrefixList", [])),
        *selection.get("tagPatternList", []),
    ]
    return bool(patterns) and all(
        any(fnmatchcase(tag, pattern) for tag in tags) for pattern in patterns
    )


def _when(selection: dict[str, Any]) -> str:
    number = selection["countNumber"]
    if selection["countType"] == "sinceImagePushed":
        return f"{number} days after its push"
    return f"when there are more than {number} such images"
