"""The shapes of single values: IDs, names, addresses; each says in words what it is not."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
)

RETENTION_DAYS = (1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 3653)
"""Retentions that CloudWatch Logs takes (PutRetentionPolicy, retentionInDays)."""


def _shaped(pattern: str, shape: str) -> AfterValidator:
    """A check that the whole text matches; `shape` says in words what was expected."""

    def check(text: str) -> str:
        if re.fullmatch(pattern, text):
            return text
        raise ValueError(f"is not {shape}")

    check.__doc__ = shape  # docs/settings.md shows what is taken in the words of the error

    return AfterValidator(check)


def _repository(url: str) -> str:
    """ACCOUNT.dkr.ecr.REGION.amazonaws.com/NAME"""
    if url.startswith(("http://", "https://")):
        raise ValueError("has a scheme: leave out everything before the account's number")
    if "@" in url or ":" in url:
        raise ValueError("names a tag or digest: that goes into imageTag or imageDigest")
    if not re.fullmatch(
        r"\d{12}\.dkr\.ecr\.[a-z0-9-]+\.amazonaws\.com(\.cn)?/[a-z0-9]+([._/-]+[a-z0-9]+)*", url
    ):
        raise ValueError("is not ACCOUNT.dkr.ecr.REGION.amazonaws.com/NAME")
    return url


def _model_source(source: str) -> str:
    """s3://BUCKET/KEY, s3://BUCKET/PREFIX/ or an HTTP(S) address"""
    if re.fullmatch(r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]/\S.*", source):
        return source
    if re.fullmatch(r"https?://[^\s/]+/\S+", source):
        return source
    raise ValueError("is neither s3://BUCKET/KEY, s3://BUCKET/PREFIX/ nor an HTTP(S) address")


def _on_off(value: object) -> object:
    """YAML may read a bare `on` or `off` as a boolean."""
    return {True: "on", False: "off", "true": "on", "false": "off"}.get(value, value)


def _rate(value: Any, check: ValidatorFunctionWrapHandler) -> int | str:
    """auto, off or 100-300"""
    try:
        rate: int | str = check(value)
    except ValidationError:
        rate = 0
    if isinstance(rate, int) and not 100 <= rate <= 300:
        raise ValueError(f"is {value!r}; it is auto, off or 100-300 (MiB/s)")
    return rate


def _account(account: object) -> object:
    """YAML reads 12 digits without quotes as a number, and a leading zero is lost."""
    if isinstance(account, int):
        raise ValueError("is read as a number: put the account ID in quotes")
    return account


def _retention(days: int) -> int:
    """a retention of CloudWatch Logs: 1, 3, 5, 7, 14, 30, 60, 90, … 3653"""
    if days not in RETENTION_DAYS:
        raise ValueError(f"is {days}, but CloudWatch Logs takes {RETENTION_DAYS}")
    return days


Repository = Annotated[str, AfterValidator(_repository)]
AccountId = Annotated[
    str, _shaped(r"\d{12}", "an account ID: 12 digits"), BeforeValidator(_account)
]
Region = Annotated[str, _shaped(r"[a-z]{2,4}(-[a-z]+)+-\d", "a region like us-west-2")]
KmsKey = Annotated[
    str,
    _shaped(
        r"arn:aws[\w-]*:kms:[\w-]+:\d{12}:(key|alias)/\S+|alias/\S+|(mrk-)?[0-9a-f-]{32,36}",
        "a KMS key's ID, its ARN or alias/NAME",
    ),
]
Moment = Annotated[
    str,
    _shaped(
        r"\d{4}-\d\d-\d\d(T\d\d:\d\d(:\d\d)?Z)?", "a date like 2027-05-01 or 2027-05-01T12:00Z"
    ),
]
SubnetId = Annotated[str, _shaped(r"subnet-[0-9a-f]{8,17}", "a subnet ID like subnet-0a1b2c3d")]
GroupId = Annotated[str, _shaped(r"sg-[0-9a-f]{8,17}", "a security group ID like sg-0a1b2c3d")]
VpcId = Annotated[str, _shaped(r"vpc-[0-9a-f]{8,17}", "a VPC ID like vpc-0a1b2c3d")]
KeyArn = Annotated[
    str,
    _shaped(
        r"arn:aws[a-z-]*:kms:[a-z0-9-]+:\d{12}:key/[0-9a-zA-Z-]+",
        "the ARN of a KMS key: arn:aws:kms:REGION:ACCOUNT:key/ID",
    ),
]
Zone = Annotated[str, _shaped(r"[a-z]{2}(-[a-z]+)+-\d[a-z]", "a zone like ap-northeast-2a")]
Bucket = Annotated[str, _shaped(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", "a bucket's bare name")]
LogPlace = Annotated[
    str, _shaped(r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[\w!.*'()/-]*)?", "s3://BUCKET/PREFIX/")
]
Tag = Annotated[str, _shaped(r"\w[\w.-]{0,127}", "an image tag")]
Digest = Annotated[str, _shaped(r"sha256:[0-9a-f]{64}", "sha256: and 64 hex digits")]
Sha256 = Annotated[str, _shaped(r"[0-9a-f]{64}", "64 hex digits, small letters")]
MachineType = Annotated[str, _shaped(r"[a-z][a-z0-9-]*\.[a-z0-9-]+", "a machine type: g5.xlarge")]
BaseAmi = Annotated[
    str,
    _shaped(
        r"al2023-gpu|al2-gpu|ami-[0-9a-f]{8,17}|/[\w./-]+",
        "al2023-gpu, al2-gpu, an SSM parameter's /path or an AMI ID",
    ),
]
Minutes = Annotated[int, Field(ge=1, le=1440)]
Destination = Annotated[str, _shaped(r"/[^\s:]+", "an absolute path on the machine")]
Address = Annotated[str, _shaped(r"https?://[^/@\s]+/\S+", "an HTTP(S) address")]
ModelSource = Annotated[str, AfterValidator(_model_source)]
Rate = Annotated[int | Literal["auto", "off"], WrapValidator(_rate)]
RetentionDays = Annotated[int, AfterValidator(_retention)]
Verify = Annotated[
    Annotated[str, _shaped(r"on|off|[a-z][a-z0-9-]*\.[a-z0-9-]+", "on, off or a machine type")],
    BeforeValidator(_on_off),
]
