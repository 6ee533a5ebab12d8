"""What the documents are narrowed to: the facts of one stack."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from settings import Settings, read_file

PROJECT = "baked-ami"


@dataclass(frozen=True, kw_only=True)
class Scope:
    """One stack, in one account and region; `settings` say which things of others it uses."""

    settings: Settings
    account: str
    project: str = PROJECT

    @property
    def publishes(self) -> bool:
        """Whether the stack shares, copies, dates or protects its AMI, or takes others' AMIs."""
        return bool(_publication(self.settings) or getattr(self.settings, "trusted_owners", ()))

    @property
    def copy_regions(self) -> tuple[str, ...]:
        """Regions beside its own that it copies AMIs to."""
        return tuple(
            str(copy.region) for copy in getattr(_publication(self.settings), "copies", ())
        )

    @property
    def copy_keys(self) -> list[str]:
        """ARNs of the customer keys of copies."""
        copies = getattr(_publication(self.settings), "copies", ())
        return sorted({str(copy.encryption_key) for copy in copies if copy.encryption_key})

    @property
    def region(self) -> str:
        return self.settings.region

    @property
    def partition(self) -> str:
        """`aws-cn` and `aws-us-gov` are the others."""
        if self.region.startswith("cn-"):
            return "aws-cn"
        return "aws-us-gov" if self.region.startswith("us-gov-") else "aws"

    def arn(self, service: str, resource: str, *, region: str | None = None) -> str:
        """The ARN of a thing of this account in this region."""
        where = self.region if region is None else region
        return f"arn:{self.partition}:{service}:{where}:{self.account}:{resource}"

    def public_arn(self, service: str, resource: str, *, region: str | None = None) -> str:
        """The ARN of a kind of thing whose ARNs name no account: images, snapshots, documents."""
        where = self.region if region is None else region
        return f"arn:{self.partition}:{service}:{where}::{resource}"

    def iam_arn(self, resource: str) -> str:
        return f"arn:{self.partition}:iam::{self.account}:{resource}"


def _publication(settings: Settings) -> Any:
    return getattr(settings, "publication", None)


def read_scope(file: Path, *, account: str | None = None, project: str = PROJECT) -> Scope:
    """The scope of a stack's settings file; its account is the repository's unless it is given.

    Raises `SettingsError` for settings that cannot be used.
    """
    settings = read_file(file)
    return Scope(
        settings=settings,
        account=account or settings.repository_url.partition(".")[0],
        project=project,
    )
