"""Publication settings against AWS: do accounts, regions and keys exist and go together."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial

from ami_provider.aws import Aws
from ami_provider.faults import Fault, FaultsError
from ami_provider.lookups.asking import Question, ask_all, fault_of
from ami_provider.lookups.key import check_key
from ami_provider.publication import AWS_KEY, UNSHARABLE, CopyTo, Publication, read_time
from ami_provider.unknowns import touches


def find_publication_faults(
    asked: Publication | None,
    trusted_owners: tuple[str, ...],
    encryption_key: str | None,
    aws: Aws,
    *,
    unknown: frozenset[str],
    is_new_date: bool,
) -> list[Fault]:
    """What an AMI could not be published on, and accounts that cannot be trusted.

    `is_new_date`: whether a deprecation date is about to be set; one that was set may pass.
    """
    questions: list[Question[None]] = []
    shares = bool(asked and asked.share_with)
    accounts = [*_listed("publication.share_with", (asked and asked.share_with) or ()),
                *_listed("trusted_owners", trusted_owners)]  # fmt: skip
    accounts = [(at, account) for at, account in accounts if not touches(unknown, at)]
    if accounts:
        questions.append(partial(_check_accounts, accounts, aws))
    if asked and asked.copies:
        copies = [
            (f"publication.copies[{i}]", copy)
            for i, copy in enumerate(asked.copies)
            if not touches(unknown, f"publication.copies[{i}]")
        ]
        _, faults = ask_all([partial(_check_regions, copies, aws)])
        if faults:
            return [*faults, *ask_all(questions)[1]]
        questions += [partial(_check_copy, at, copy, shares, aws) for at, copy in copies]
    if shares and not touches(unknown, "recipe.encryption_key"):
        questions.append(partial(_check_sharable, encryption_key, "publication.share_with", aws))
    _, faults = ask_all(questions)
    if asked and asked.deprecate_at and is_new_date:
        faults += _find_past(asked.deprecate_at)
    return faults


def _listed(path: str, values: tuple[str, ...]) -> list[tuple[str, str]]:
    return [(f"{path}[{i}]", value) for i, value in enumerate(values)]


def _check_accounts(accounts: list[tuple[str, str]], aws: Aws) -> None:
    try:
        own = aws.sts.get_caller_identity()["Account"]
    except Exception as error:
        raise fault_of(error, accounts[0][0], "sts:GetCallerIdentity", on="") from None
    found = [Fault(at, f"{account} is this account itself. Take it out.")
             for at, account in accounts if account == own]  # fmt: skip
    if found:
        raise FaultsError(found)


def _check_regions(copies: list[tuple[str, CopyTo]], aws: Aws) -> None:
    try:
        regions = aws.ec2.describe_regions(AllRegions=True)["Regions"]
    except Exception as error:
        raise fault_of(error, "publication.copies", "ec2:DescribeRegions", on="") from None
    status = {str(one["RegionName"]): str(one.get("OptInStatus", "")) for one in regions}
    found = []
    for at, copy in copies:
        if copy.region not in status:
            found.append(Fault(f"{at}.region", f"there is no region {copy.region!r}. There are: "
                               f"{', '.join(sorted(status))}."))  # fmt: skip
        elif status[copy.region] == "not-opted-in":
            found.append(Fault(f"{at}.region", f"{copy.region} is not switched on for this account."
                               f" Do so (aws account enable-region --region-name {copy.region}), "
                               f"or take it out."))  # fmt: skip
    if found:
        raise FaultsError(found)


def _check_copy(at: str, copy: CopyTo, shares: bool, aws: Aws) -> None:
    there, path = aws.at(copy.region), f"{at}.encryption_key"
    if copy.encryption_key:
        own = check_key(copy.encryption_key, there, path)
        if shares and not own:
            raise FaultsError([Fault(path, _unsharable(copy.encryption_key, there))])
    elif shares:
        _check_sharable(None, path, there)


def _check_sharable(encryption_key: str | None, path: str, aws: Aws) -> None:
    """Raises `FaultsError` where AWS's own key encrypts: as named, or by the region's default."""
    key = encryption_key or _find_default_key(path, aws)
    if key is None:
        return
    at = "recipe.encryption_key" if encryption_key else path
    if key.endswith(AWS_KEY) or not check_key(key, aws, at):
        raise FaultsError([Fault(path, _unsharable(key, aws))])


def _unsharable(key: str, aws: Aws) -> str:
    return UNSHARABLE.format(f"{key} (in {aws.region})")


def _find_default_key(path: str, aws: Aws) -> str | None:
    """The key with which this region encrypts what nobody gives a key for; None if it does not."""
    action = "ec2:GetEbsEncryptionByDefault"
    try:
        if not aws.ec2.get_ebs_encryption_by_default().get("EbsEncryptionByDefault"):
            return None
        action = "ec2:GetEbsDefaultKmsKeyId"
        return str(aws.ec2.get_ebs_default_kms_key_id()["KmsKeyId"])
    except Exception as error:
        raise fault_of(error, path, action, on="") from None


def _find_past(date: str) -> list[Fault]:
    if read_time(date) > datetime.now(UTC):
        return []
    reason = f"{date} has passed. Give a later date, or deprecate_after_days."
    return [Fault("publication.deprecate_at", reason)]
