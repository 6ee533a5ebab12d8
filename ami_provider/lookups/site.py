"""The site: do subnets, groups, instance profile and machine types exist and go together."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

from ami_provider import errors
from ami_provider.aws import Aws
from ami_provider.faults import Fault, FaultsError
from ami_provider.lookups.asking import Question, ask_all, fault_of
from ami_provider.recipe import Family
from ami_provider.site import BuildSite, find_undriven, is_instance_type
from ami_provider.unknowns import touches


def find_site_faults(site: BuildSite, aws: Aws, *, unknown: frozenset[str]) -> list[Fault]:
    """Everything about the site that a bake would fail on.

    `unknown` has the paths of inputs whose values are not known yet; they are left out.
    """
    types = _known("site.instance_types", site.instance_types, unknown)
    if is_instance_type(site.verify) and "site.verify" not in unknown:
        types.append(("site.verify", site.verify))
    subnets = _known("site.subnet_ids", site.subnet_ids, unknown)
    groups = _known("site.security_group_ids", site.security_group_ids, unknown)
    found_subnets: dict[str, Any] = {}
    found_groups: dict[str, Any] = {}
    questions: list[Question[Any]] = [
        partial(_find_offers, types, aws),
        partial(_check_subnets, subnets, found_subnets, aws),
        partial(_check_groups, groups, found_groups, aws),
    ]
    if site.logs and "site.logs" not in unknown:
        questions.append(partial(_check_log_bucket, site.logs, aws))
    if "site.instance_profile" not in unknown:
        questions.append(partial(_check_profile, site.instance_profile, aws))
    (offered, *_), faults = ask_all(questions)
    faults += _vpc_faults(subnets, found_subnets, groups, found_groups)
    zones = {str(s["AvailabilityZone"]) for s in found_subnets.values()}
    if zones and offered is not None:
        faults += _offer_faults(types, offered, zones)
    return faults


def _known(path: str, values: tuple[str, ...], unknown: frozenset[str]) -> list[tuple[str, str]]:
    listed = [(f"{path}[{i}]", value) for i, value in enumerate(values)]
    return [(at, value) for at, value in listed if not touches(unknown, at)]


def _check_subnets(wanted: list[tuple[str, str]], found: dict[str, Any], aws: Aws) -> None:
    if not wanted:
        return
    ids = [subnet for _, subnet in wanted]
    try:
        answer = aws.ec2.describe_subnets(Filters=[{"Name": "subnet-id", "Values": ids}])
    except Exception as error:
        raise fault_of(error, "site.subnet_ids", "ec2:DescribeSubnets", on="") from None
    found.update({str(s["SubnetId"]): s for s in answer["Subnets"]})
    reason = "there is no subnet {} in {}. Correct the ID or the region."
    missing = [
        Fault(path, reason.format(subnet, aws.region))
        for path, subnet in wanted
        if subnet not in found
    ]
    if missing:
        raise FaultsError(missing)


def _check_groups(wanted: list[tuple[str, str]], found: dict[str, Any], aws: Aws) -> None:
    if not wanted:
        return
    ids = [group for _, group in wanted]
    try:
        answer = aws.ec2.describe_security_groups(Filters=[{"Name": "group-id", "Values": ids}])
    except Exception as error:
        raise fault_of(
            error, "site.security_group_ids", "ec2:DescribeSecurityGroups", on=""
        ) from None
    found.update({str(g["GroupId"]): g for g in answer["SecurityGroups"]})
    reason = "there is no security group {} in {}. Correct the ID or the region."
    missing = [
        Fault(path, reason.format(group, aws.region))
        for path, group in wanted
        if group not in found
    ]
    if missing:
        raise FaultsError(missing)


def _check_profile(profile: str, aws: Aws) -> None:
    name, at = profile.rpartition("/")[2], "site.instance_profile"
    try:
        roles = aws.iam.get_instance_profile(InstanceProfileName=name)["InstanceProfile"]["Roles"]
    except Exception as error:
        if errors.is_not_found(error):
            raise FaultsError([Fault(at, f"there is no instance profile {name!r} in this account. "
                                     f"Create it, or correct the name.")]) from None  # fmt: skip
        raise fault_of(error, at, "iam:GetInstanceProfile", on=name) from None
    if not roles:
        raise FaultsError([Fault(at, f"instance profile {name!r} holds no role, so the builder "
                                 f"could not reach SSM, ECR or S3. Add one.")])  # fmt: skip


def _check_log_bucket(place: str, aws: Aws) -> None:
    """Only that it is there: the builder writes to it, not who runs this."""
    bucket = place.removeprefix("s3://").partition("/")[0]
    try:
        aws.s3.head_bucket(Bucket=bucket)
    except Exception as error:
        if errors.is_not_found(error):
            raise FaultsError([Fault("site.logs", f"there is no bucket {bucket!r}. Create it, or "
                                     f"correct the name.")]) from None  # fmt: skip
        if not errors.is_aws_error(error):
            raise


def _find_offers(types: list[tuple[str, str]], aws: Aws) -> dict[str, set[str]]:
    """Zones by instance type, for all types the site names."""
    offers: dict[str, set[str]] = {}
    if not types:
        return offers
    pages = aws.ec2.get_paginator("describe_instance_type_offerings").paginate(
        LocationType="availability-zone",
        Filters=[{"Name": "instance-type", "Values": [t for _, t in types]}],
    )
    try:
        for page in pages:
            for offer in page["InstanceTypeOfferings"]:
                offers.setdefault(str(offer["InstanceType"]), set()).add(str(offer["Location"]))
    except Exception as error:
        raise fault_of(
            error, "site.instance_types", "ec2:DescribeInstanceTypeOfferings", on=""
        ) from None
    return offers


def _vpc_faults(
    subnets: list[tuple[str, str]],
    found_subnets: dict[str, Any],
    groups: list[tuple[str, str]],
    found_groups: dict[str, Any],
) -> Iterator[Fault]:
    placed = [
        (path, s, str(found_subnets[s]["VpcId"])) for path, s in subnets if s in found_subnets
    ]
    if not placed:
        return
    _, first, vpc = placed[0]
    for path, subnet, other in placed:
        if other != vpc:
            yield Fault(path, f"{subnet} is in {other}, but {first} is in {vpc}. Give subnets of "
                        f"one VPC.")  # fmt: skip
    for path, group in groups:
        other = str(found_groups[group]["VpcId"]) if group in found_groups else vpc
        if other != vpc:
            yield Fault(path, f"{group} is in {other}, but the subnets are in {vpc}. Give a group "
                        f"of that VPC.")  # fmt: skip


def _offer_faults(
    types: list[tuple[str, str]], offers: dict[str, set[str]], zones: set[str]
) -> Iterator[Fault]:
    for path, kind in types:
        have = offers.get(kind, set())
        if not have:
            yield Fault(path, f"there is no {kind} in this region. Choose another type.")
        elif not have & zones:
            yield Fault(path, f"{kind} is offered in {', '.join(sorted(have))}, but the subnets "
                        f"are in {', '.join(sorted(zones))}. Add a subnet there, or choose "
                        f"another type.")  # fmt: skip


def find_machine_faults(site: BuildSite, family: Family) -> Iterator[Fault]:
    """Machine types that the base AMI cannot drive."""
    types = [(f"site.instance_types[{i}]", t) for i, t in enumerate(site.instance_types)]
    for path, kind in [*types, ("site.verify", site.verify)]:
        why = find_undriven(kind, family)
        if why:
            yield Fault(path, f"{kind} cannot be used: {why}. Choose g4dn, g5, g6 or newer.")
