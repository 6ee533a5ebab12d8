"""Everything that a bake needs of an account, looked at before one fails on it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from ami_provider import errors
from ami_provider.asked import Asked, read_resolved
from ami_provider.aws import Aws
from ami_provider.checking import check_inputs
from ami_provider.faults import FaultsError
from ami_provider.fingerprint import fingerprint
from ami_provider.job import Job
from ami_provider.launch import Choice, build_request, list_choices
from ami_provider.network import Way, find_open_443, find_way_out
from ami_provider.resolved import ResolvedRecipe
from ami_provider.stages import Stages

Status = Literal["ok", "fault", "unknown"]

QUOTAS = {
    ("g", "on-demand"): "L-DB2E81BA",
    ("g", "spot"): "L-3819A6DF",
    ("p", "on-demand"): "L-417A185B",
    ("p", "spot"): "L-7212CCBC",
    ("standard", "on-demand"): "L-1216C47A",
    ("standard", "spot"): "L-34B43A08",
}
"""EC2's vCPU quotas by family and market (Service Quotas, service code `ec2`)."""
ROLES = {
    "AWSServiceRoleForBatch": ("batch.amazonaws.com", "in-place updates of Batch need it"),
    "AWSServiceRoleForEC2Spot": ("spot.amazonaws.com", "spot machines need it"),
}
PARTS = {
    "base AMI": "recipe.base", "container images (ECR)": "recipe.images",
    "models (S3, HTTP)": "recipe.models", "subnets": "site.subnet_ids",
    "security groups": "site.security_group_ids", "instance profile": "site.instance_profile",
    "machine types": "site.instance_types", "bucket for logs": "site.logs",
}  # fmt: skip
"""What the look-ups of a preview tell, by the path that their faults have."""


@dataclass(frozen=True)
class Check:
    """One thing that was looked at: `text` what was found, `remedy` what to do about a fault."""

    name: str
    status: Status
    text: str
    remedy: str = ""


def examine(aws: Aws, asked: Asked | None, given: Mapping[str, Any]) -> list[Check]:
    """All checks, each on its own: one that fails hides no other.

    Without a recipe file (`asked` is None) only what every bake in the region needs. Nothing is
    changed: launching is asked as a dry run. Raises `BakeError` where AWS does not know the caller.
    """
    checks = [_check_caller(aws)]
    if asked is None:
        kinds = [("g", "spot"), ("g", "on-demand")]
        checks += [_check_quota(aws, *kind, vcpus=4) for kind in kinds]
        return [*checks, *_check_roles(aws, spot=True)]
    inputs, parts = _check_parts(aws, asked, given)
    checks += parts
    checks += _check_network(aws, asked)
    if inputs and inputs.get("resolved"):
        checks.append(_check_launch(aws, asked, read_resolved(inputs)))
    else:
        text = "not asked: it needs a base AMI and a site that are there"
        checks.append(Check("permission to launch", "unknown", text))
    checks += _check_quotas(aws, asked)
    return [*checks, *_check_roles(aws, spot=asked.site.capacity != "on-demand")]


def _check_caller(aws: Aws) -> Check:
    try:
        found = aws.sts.get_caller_identity()
    except Exception as error:
        if not errors.is_aws_error(error):
            raise
        brief = "AWS does not know who asks"
        raise errors.bake_error(error, brief, "sts:GetCallerIdentity") from error
    return Check("credentials", "ok", f"{found['Arn']} in account {found['Account']}")


def _check_parts(
    aws: Aws, asked: Asked, given: Mapping[str, Any]
) -> tuple[dict[str, Any] | None, list[Check]]:
    faults: dict[str, str] = {}
    inputs = None
    try:
        inputs = check_inputs({}, given, lambda _region: aws).inputs
    except FaultsError as error:
        faults = {fault.path: fault.reason for fault in error.faults}
    checks = []
    for name, path in PARTS.items():
        found = {at: why for at, why in faults.items() if at.startswith(path)}
        if path == "site.logs" and asked.site.logs is None:
            continue
        if found:
            text = "; ".join(f"{at}: {why}" for at, why in found.items())
            checks.append(Check(name, "fault", text, "Correct it in the recipe file."))
        else:
            checks.append(Check(name, "ok", "there, and readable"))
    told = tuple(PARTS.values())
    rest = {at: why for at, why in faults.items() if not at.startswith(told)}
    checks += [Check(at, "fault", why, "Correct it in the recipe file.")
               for at, why in rest.items()]  # fmt: skip
    return inputs, checks


def _check_network(aws: Aws, asked: Asked) -> Iterator[Check]:
    site = asked.site

    def look() -> list[Check]:
        ids: Any = [{"Name": "subnet-id", "Values": list(site.subnet_ids)}]
        subnets = aws.ec2.describe_subnets(Filters=ids)["Subnets"]
        named: Any = [{"Name": "group-id", "Values": list(site.security_group_ids)}]
        groups = aws.ec2.describe_security_groups(Filters=named)["SecurityGroups"]
        found = []
        for subnet in subnets:
            at = str(subnet["SubnetId"])
            found.append(_from_way(f"way out of {at}", find_way_out(aws, subnet)))
            found.append(_from_way(f"443 from {at}", find_open_443(aws, at, groups)))
        return found

    yield from _guarded("network", "ec2:DescribeRouteTables", look)


def _from_way(name: str, way: Way) -> Check:
    if way.fault:
        return Check(name, "fault", way.fault, way.remedy)
    return Check(name, "ok", way.text)


def _check_launch(aws: Aws, asked: Asked, recipe: ResolvedRecipe) -> Check:
    """A dry run of the builder's launch: AWS answers whether it would be allowed."""
    name = "permission to launch"
    job = Job(
        recipe=recipe, site=asked.site, lineage=asked.lineage,
        fingerprint=fingerprint(recipe.manifest()), aws=aws,
        stages=Stages(lambda _text: None, 0), user_tags=asked.site.tags,
    )  # fmt: skip
    choice = list_choices(asked.site, asked.site.instance_types)[0]
    minutes = asked.site.timeouts.ready
    request = build_request(job, "builder", choice, image_id=recipe.base.ami_id, minutes=minutes)
    try:
        aws.ec2_once.run_instances(**request, DryRun=True)
    except Exception as error:
        if not errors.is_aws_error(error):
            raise
        if errors.get_code(error) == "DryRunOperation":
            return Check(name, "ok", f"{choice} may be launched (a dry run; capacity is not seen)")
        text = errors.explain_aws(error, "ec2:RunInstances")
        policy = "`python -m policies` prints what whoever runs this needs to be allowed."
        return Check(name, "fault", text, policy)
    return Check(name, "unknown", "AWS gave no answer to the dry run")


def _check_quotas(aws: Aws, asked: Asked) -> Iterator[Check]:
    site = asked.site
    wanted: dict[tuple[str, str], Choice] = {}
    for choice in list_choices(site, site.instance_types):
        wanted.setdefault((_get_family(choice.instance_type), choice.market), choice)
    for (family, market), choice in wanted.items():
        yield _check_quota(aws, family, market, vcpus=_find_vcpus(aws, choice.instance_type))


def _get_family(instance_type: str) -> str:
    """Of those that have a quota of their own and are used here; others are told as standard."""
    letters = instance_type.rstrip("0123456789.").partition(".")[0]
    if letters.startswith(("g", "vt")):
        return "g"
    return "p" if letters.startswith("p") else "standard"


def _find_vcpus(aws: Aws, instance_type: str) -> int:
    try:
        found = aws.ec2.describe_instance_types(InstanceTypes=[instance_type])["InstanceTypes"]  # type: ignore[list-item]
        return int(found[0]["VCpuInfo"]["DefaultVCpus"])
    except Exception as error:
        if not errors.is_aws_error(error):
            raise
        return 4  # The smallest with a GPU have as many.


def _check_quota(aws: Aws, family: str, market: str, *, vcpus: int) -> Check:
    code, name = QUOTAS[family, market], f"quota of {family.upper()} {market} vCPUs"
    if family == "standard":
        name = f"quota of standard {market} vCPUs"

    def look() -> list[Check]:
        quotas = aws.client("service-quotas")
        found = quotas.get_service_quota(ServiceCode="ec2", QuotaCode=code)["Quota"]
        value = int(found["Value"])
        if value >= vcpus:
            return [Check(name, "ok", f"{value}; one machine takes {vcpus}")]
        remedy = (
            f"aws service-quotas request-service-quota-increase --service-code ec2 --quota-code "
            f"{code} --desired-value {max(vcpus, 8)} --region {aws.region}"
        )
        return [Check(name, "fault", f"{value}, but one machine takes {vcpus}", remedy)]

    return _guarded(name, "servicequotas:GetServiceQuota", look)[0]


def _check_roles(aws: Aws, *, spot: bool) -> Iterator[Check]:
    for role, (service, why) in ROLES.items():
        if role == "AWSServiceRoleForEC2Spot" and not spot:
            continue
        name = f"role {role}"
        try:
            aws.iam.get_role(RoleName=role)
        except Exception as error:
            if not errors.is_aws_error(error):
                raise
            if errors.is_not_found(error):
                make = f"aws iam create-service-linked-role --aws-service-name {service}"
                text = f"not there yet; {why}"
                remedy = f"The program makes it where it may; else: {make}"
                yield Check(name, "unknown", text, remedy)
            else:
                yield Check(name, "unknown", errors.explain_aws(error, "iam:GetRole"))
        else:
            yield Check(name, "ok", "there")


def _guarded(name: str, action: str, look: Callable[[], list[Check]]) -> list[Check]:
    """What cannot be looked at is unknown: only to look may be missing from a policy."""
    try:
        return look()
    except Exception as error:
        if not errors.is_aws_error(error):
            raise
        return [Check(name, "unknown", errors.explain_aws(error, action))]
