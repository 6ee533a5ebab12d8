"""Who else may use an AMI, where else it is, until when: none of it is content. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Annotated, Self

from pydantic import AfterValidator, Field, field_validator, model_validator

from ami_provider.contents import Frozen, check_key_name
from ami_provider.faults import Fault, Path, refuse
from ami_provider.site import check_region
from ami_provider.unknowns import touches

MAX_ACCOUNTS = 40
MAX_COPIES = 10
"""Both are limits of the tags in which an AMI remembers what its owners asked for."""
MAX_DAYS = 3650
"""EC2 takes a deprecation date at most ten years ahead."""

AWS_KEY = "alias/aws/ebs"
"""AWS's own key for EBS. What it encrypts cannot be shared (EC2 user guide, "Share an AMI")."""
UNSHARABLE = (
    "cannot be given: {} is a key of AWS's own, and what it encrypts cannot be shared. Set "
    "recipe.encryption_key to a key of yours whose policy lets these accounts use it."
)


def _check_time(value: str) -> str:
    try:
        return time_text(datetime.fromisoformat(value))
    except ValueError:
        raise ValueError(
            f"{value!r} is not a time such as 2027-05-01 or 2027-05-01T12:00Z (UTC)."
        ) from None


class CopyTo(Frozen):
    """A region that gets a copy of the AMI. `encryption_key` is a KMS key of that region."""

    region: Annotated[str, AfterValidator(check_region)]
    encryption_key: Annotated[str, AfterValidator(check_key_name)] | None = None

    @model_validator(mode="after")
    def _key_of_the_region(self) -> Self:
        found = re.match(r"arn:[\w-]+:kms:([\w-]+):", self.encryption_key or "")
        if found and found[1] != self.region:
            why = f"is a key of {found[1]}, but the copy is in {self.region}. Name a key there."
            raise refuse((("encryption_key",), why))
        return self


class Publication(Frozen):
    """What an AMI's owners want of it beyond this account and region; changed in place.

    What is None is left as it is in EC2; what was asked for and no longer is, is taken back.
    `deprecate_at` is UTC to the minute, `deprecate_after_days` counts from the AMI's creation.
    """

    share_with: tuple[str, ...] | None = None
    share_snapshots: bool = False
    copies: tuple[CopyTo, ...] = ()
    deprecate_after_days: Annotated[int, Field(ge=1, le=MAX_DAYS)] | None = None
    deprecate_at: Annotated[str, AfterValidator(_check_time)] | None = None
    deregistration_protection: bool | None = None

    @field_validator("share_with")
    @classmethod
    def _accounts(cls, value: tuple[str, ...] | None) -> tuple[str, ...] | None:
        return None if value is None else check_accounts(value, MAX_ACCOUNTS)

    @field_validator("copies")
    @classmethod
    def _regions(cls, value: tuple[CopyTo, ...]) -> tuple[CopyTo, ...]:
        regions = [copy.region for copy in value]
        found: list[tuple[Path, str]] = [
            ((i, "region"), f"{region!r} is the region of copies[{regions.index(region)}] too.")
            for i, region in enumerate(regions)
            if regions.index(region) != i
        ]
        if len(value) > MAX_COPIES:
            found.append(((), f"has {len(value)} copies; at most {MAX_COPIES}."))
        if found:
            raise refuse(*found)
        return value

    @model_validator(mode="after")
    def _belongs_together(self) -> Self:
        found = [((field,), why) for field, why in _contradictions(self)]
        if found:
            raise refuse(*found)
        return self

    def deprecation(self, created: datetime) -> str | None:
        """When an AMI of this age is deprecated: the same at every run."""
        if self.deprecate_after_days is not None:
            return time_text(created + timedelta(days=self.deprecate_after_days))
        return self.deprecate_at


def _contradictions(asked: Publication) -> Iterator[tuple[str, str]]:
    if asked.deprecate_at and asked.deprecate_after_days:
        yield "deprecate_at", "is given beside deprecate_after_days; keep one of them."
    if asked.share_snapshots and not asked.share_with:
        yield "share_snapshots", "is set, but share_with names no account to share them with."


def find_contradictions(
    asked: Publication, *, region: str, encryption_key: str | None, unknown: frozenset[str]
) -> Iterator[Fault]:
    """What does not go together with the AMI's own region and key; None of `unknown` paths."""
    for i, copy in enumerate(asked.copies):
        at = f"publication.copies[{i}]"
        if copy.region == region and "site.region" not in unknown:
            why = f"{region!r} is the AMI's own region (site.region). Take it out."
            yield Fault(f"{at}.region", why)
        known = f"{at}.encryption_key" not in unknown and not touches(unknown, "recipe")
        if encryption_key and not copy.encryption_key and known:
            yield Fault(
                f"{at}.encryption_key",
                f"is required: the AMI is encrypted (recipe.encryption_key), and a KMS key belongs "
                f"to one region. Name a key of {copy.region}.",
            )
    if asked.share_with and (encryption_key or "").endswith(AWS_KEY):
        yield Fault("publication.share_with", UNSHARABLE.format(encryption_key))


class Adoption(Frozen):
    """Whose AMIs are used as if they were this account's own."""

    trusted_owners: tuple[str, ...] = ()

    @field_validator("trusted_owners")
    @classmethod
    def _accounts(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return check_accounts(value, MAX_ACCOUNTS)


def check_accounts(value: tuple[str, ...], most: int) -> tuple[str, ...]:
    """The account IDs, if they are; refuses each that is none, or given twice."""
    found: list[tuple[Path, str]] = [
        ((i,), f"{one!r} is not an account ID: 12 digits, as text, such as '123456789012'.")
        for i, one in enumerate(value)
        if not re.fullmatch(r"\d{12}", one)
    ]
    found += [
        ((i,), f"{one!r} is given twice.") for i, one in enumerate(value) if value.index(one) != i
    ]
    if len(value) > most:
        found.append(((), f"has {len(value)} accounts; at most {most}."))
    if found:
        raise refuse(*found)
    return value


def time_text(moment: datetime) -> str:
    """UTC to the minute, as EC2 keeps deprecation dates."""
    moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    return moment.strftime("%Y-%m-%dT%H:%MZ")


def read_time(text: str) -> datetime:
    """A time as `time_text` or EC2 writes it."""
    moment = datetime.fromisoformat(text)
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
