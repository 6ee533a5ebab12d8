"""The provider's own settings (`aws:region` and the like), of the engine or the environment."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from local_cloud.pulumi_plugin.inputs import Fault
from local_cloud.pulumi_plugin.values import UNKNOWN

#: Settings that say nothing to the stand-in, because boto3 does not check what they switch off.
_WITHOUT_EFFECT = {
    "version",
    "pluginDownloadURL",
    "skipCredentialsValidation",
    "skipMetadataApiCheck",
    "skipRegionValidation",
    "skipRequestingAccountId",
    "s3UsePathStyle",
    "maxRetries",
    "retryMode",
}
_MODELLED = {"region", "profile", "accessKey", "secretKey", "token", "defaultTags"}


@dataclass(frozen=True)
class ProviderConfig:
    """Where and as whom the provider speaks to AWS. `region` may be missing until it is needed."""

    region: str | None = None
    credentials: Mapping[str, str | None] = field(default_factory=dict)
    default_tags: Mapping[str, str] = field(default_factory=dict)

    @staticmethod
    def faults(given: Mapping[str, Any]) -> list[Fault]:
        """The settings that the stand-in does not model."""
        return [
            Fault(
                name,
                f"the stand-in does not model the provider setting '{name}'; use the real plugin "
                "(pulumi plugin install resource aws), or leave the setting out.",
            )
            for name in given
            if name not in _MODELLED | _WITHOUT_EFFECT and not name.startswith("__")
        ]

    @classmethod
    def parse(cls, given: Mapping[str, Any], environment: Mapping[str, str]) -> ProviderConfig:
        """Read the settings. Raises ValueError for one that is not modelled."""
        for fault in cls.faults(given):
            raise ValueError(fault.reason)
        region = given.get("region")
        tags = given.get("defaultTags") or {}
        if isinstance(tags, str):
            tags = json.loads(tags)
        known = {key: value for key, value in given.items() if value != UNKNOWN}
        return cls(
            region=(region if region != UNKNOWN else None)
            or environment.get("AWS_REGION")
            or environment.get("AWS_DEFAULT_REGION"),
            credentials={
                "aws_access_key_id": known.get("accessKey"),
                "aws_secret_access_key": known.get("secretKey"),
                "aws_session_token": known.get("token"),
                "profile_name": known.get("profile"),
            },
            default_tags={str(k): str(v) for k, v in (tags.get("tags") or {}).items()},
        )

    def get_region(self) -> str:
        """The region, or a ValueError that says how to set one."""
        if not self.region:
            raise ValueError(
                "no AWS region is set: run `pulumi config set aws:region <region>`, set "
                "AWS_REGION, or give the resource a `region`"
            )
        return self.region
