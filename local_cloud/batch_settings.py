"""What can be set about the local Batch: how AMIs are chosen, how long its waits are."""

from __future__ import annotations

import json
import os
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

AmiReading = Literal["guide", "strict"]
PREFIX = "LOCAL_CLOUD_BATCH_"


class SettingsError(ValueError):
    """A setting that cannot be used; the message names it, its value and what is wrong."""


class BatchSettings(BaseModel):
    """Settings of one cloud; `PUT /_local_cloud/batch` changes some of them while it runs.

    `ami_reading`: under `guide` an infrastructure update takes the AMI of the template version that
    it names (Batch user guide, "AMI selection order"). Under `strict` an AMI that comes from the
    template stays what it was without `updateToLatestImageVersion` (botocore's text of
    `LaunchTemplateSpecification.version`).
    """

    model_config = ConfigDict(extra="forbid", validate_assignment=True)

    ami_reading: AmiReading = "guide"
    #: Seconds that a machine above minvCpus stays without a job.
    idle_s: float = Field(default=60.0, ge=0)
    #: Seconds that a minute of an update policy lasts.
    minute_s: float = Field(default=60.0, gt=0)


def settings_from_environment() -> BatchSettings:
    """From LOCAL_CLOUD_BATCH_AMI_READING, …_IDLE_S, …_MINUTE_S.

    Raises SettingsError.
    """
    names = {name: f"{PREFIX}{name.upper()}" for name in BatchSettings.model_fields}
    given = {name: os.environ[held] for name, held in names.items() if os.environ.get(held)}
    return _checked(given, names)


def changed_settings(before: BatchSettings, body: bytes) -> BatchSettings:
    """The settings with what a JSON object names changed. Raises SettingsError."""
    try:
        changes = json.loads(body)
    except ValueError as error:
        raise SettingsError(f"Batch's settings: not JSON: {error}") from None
    if not isinstance(changes, dict):
        raise SettingsError("Batch's settings: a JSON object is needed")
    return _checked(before.model_dump() | changes, {})


def _checked(values: dict[str, Any], names: dict[str, str]) -> BatchSettings:
    try:
        return BatchSettings.model_validate(values)
    except ValidationError as error:
        wrong = error.errors()[0]
        name = str(wrong["loc"][0])
        raise SettingsError(f"{names.get(name, name)}={wrong['input']!r}: {wrong['msg']}") from None
