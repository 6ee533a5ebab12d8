"""Base AMI: alias or SSM parameter -> AMI ID -> what EC2 says of that AMI."""

from __future__ import annotations

import re
from typing import Any

from ami_provider import errors
from ami_provider.aws import Aws
from ami_provider.faults import Fault, FaultsError
from ami_provider.lookups.asking import fault_of
from ami_provider.recipe import BASE_ALIASES, BaseAmi, Family
from ami_provider.resolved import ResolvedBase

PATH = "recipe.base"


def get_newest_id(base: BaseAmi, aws: Aws) -> str:
    """The AMI ID that alias or SSM parameter names today. Raises `FaultsError`."""
    if base.source.startswith("ami-"):
        return base.source
    alias = BASE_ALIASES.get(base.source)
    name = alias[0] if alias else base.source
    try:
        value = aws.ssm.get_parameter(Name=name)["Parameter"]["Value"]
    except Exception as error:
        if errors.get_code(error) in ("ParameterNotFound", "ParameterVersionNotFound"):
            raise FaultsError([_no_parameter(base, name, aws.region)]) from None
        raise fault_of(error, PATH, "ssm:GetParameter", on=name) from None
    # The value is the ID alone, or a document with it (`…/recommended`).
    found = re.search(r"ami-[0-9a-f]{8,17}", value)
    if found is None:
        reason = f"the SSM parameter {name} holds {value[:60]!r}, not an AMI ID. Name another one."
        raise FaultsError([Fault(PATH, reason)])
    return found.group()


def _no_parameter(base: BaseAmi, name: str, region: str) -> Fault:
    if base.source in BASE_ALIASES:
        return Fault(PATH, f"{base.source!r}: AWS publishes no {name} in {region}. Choose another "
                     f"region, or give an AMI ID.")  # fmt: skip
    return Fault(PATH, f"there is no SSM parameter {name!r} in {region}. Correct its name or the "
                 f"region, or give an AMI ID.")  # fmt: skip


def get_base(base: BaseAmi, ami_id: str, aws: Aws) -> ResolvedBase:
    """The AMI as EC2 describes it. Raises `FaultsError` where it cannot be baked from."""
    try:
        images = aws.ec2.describe_images(ImageIds=[ami_id], IncludeDeprecated=True)["Images"]
    except Exception as error:
        if errors.is_not_found(error):
            images = []
        else:
            raise fault_of(error, PATH, "ec2:DescribeImages", on=ami_id) from None
    if not images:
        raise FaultsError([Fault(PATH, f"there is no AMI {ami_id} in {aws.region} that this "
                                 f"account may use. Correct the ID or the region, or have it "
                                 f"shared with this account.")])  # fmt: skip
    image: Any = images[0]
    family = base.family or find_family(base, str(image.get("Name", "")))
    root = _root_mapping(image)
    faults = list(_unusable(image, ami_id, family, root))
    if faults or family is None or root is None:
        raise FaultsError(Fault(PATH, reason) for reason in faults)
    return ResolvedBase(
        source=base.source,
        ami_id=ami_id,
        name=image.get("Name", ""),
        family=family,
        architecture=image.get("Architecture", "x86_64"),
        root_device=image["RootDeviceName"],
        size_gib=int(root["Ebs"]["VolumeSize"]),
    )


def find_family(base: BaseAmi, name: str) -> Family | None:
    """Amazon Linux 2023 or 2, from the alias or from how AWS names its AMIs."""
    if base.source in BASE_ALIASES:
        return BASE_ALIASES[base.source][1]
    if "al2023" in name:
        return "al2023"
    return "al2" if "amzn2" in name else None


def _root_mapping(image: Any) -> Any | None:
    mappings = image.get("BlockDeviceMappings", [])
    return next(
        (m for m in mappings if m.get("DeviceName") == image.get("RootDeviceName") and "Ebs" in m),
        None,
    )


def _unusable(image: Any, ami_id: str, family: Family | None, root: Any | None) -> list[str]:
    reasons = []
    if image.get("State") != "available":
        reasons.append(f"{ami_id} is {image.get('State')}, not available. Choose another AMI.")
    architecture = image.get("Architecture", "x86_64")
    if architecture != "x86_64":
        reasons.append(f"{ami_id} is for {architecture}; only x86_64 is supported.")
    if root is None:
        reasons.append(f"{ami_id} has no EBS root volume, so it cannot be imaged.")
    if family is None:
        reasons.append(
            f"{ami_id} ({image.get('Name')!r}) does not say by its name which Amazon Linux it is. "
            f"Set family to al2023 or al2."
        )
    return reasons
