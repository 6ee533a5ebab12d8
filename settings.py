"""Stack configuration -> typed settings. Every fault is found at once and told by its key."""

from __future__ import annotations

import difflib
import json
import os
import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import pulumi
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    field_validator,
)
from pydantic.alias_generators import to_camel
from pydantic_core import ErrorDetails

NAMESPACE = "baked-ami"
MODELS_FOLDER = "/opt/ml/models"

# What a reader is told to write where a required key is missing.
EXAMPLES = {
    "repositoryUrl": "123456789012.dkr.ecr.ap-northeast-2.amazonaws.com/batch-processor",
    "subnetIds": "[subnet-0a1b2c3d4e5f60718]",
    "source": "s3://my-models/yolo.pt",
    "aws:region": "ap-northeast-2",
}

# Retentions that CloudWatch Logs takes (PutRetentionPolicy, retentionInDays).
RETENTION_DAYS = (1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 3653)


class SettingsError(pulumi.RunError):
    """All faults of the stack's settings, one a line; the engine shows it without a traceback."""


def _shaped(pattern: str, shape: str) -> AfterValidator:
    """A check that the whole text matches; `shape` says in words what was expected."""

    def check(text: str) -> str:
        if re.fullmatch(pattern, text):
            return text
        raise ValueError(f"is not {shape}")

    return AfterValidator(check)


def _repository(url: str) -> str:
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
    if re.fullmatch(r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]/\S.*", source):
        return source
    if re.fullmatch(r"https?://[^\s/]+/\S+", source):
        return source
    raise ValueError("is neither s3://BUCKET/KEY, s3://BUCKET/PREFIX/ nor an HTTP(S) address")


def _on_off(value: object) -> object:
    """YAML may read a bare `on` or `off` as a boolean."""
    return {True: "on", False: "off", "true": "on", "false": "off"}.get(value, value)


def _rate(value: Any, check: ValidatorFunctionWrapHandler) -> int | str:
    try:
        rate: int | str = check(value)
    except ValidationError:
        rate = 0
    if isinstance(rate, int) and not 100 <= rate <= 300:
        raise ValueError(f"is {value!r}; it is auto, off or 100-300 (MiB/s)")
    return rate


def _retention(days: int) -> int:
    if days not in RETENTION_DAYS:
        raise ValueError(f"is {days}, but CloudWatch Logs takes {RETENTION_DAYS}")
    return days


Repository = Annotated[str, AfterValidator(_repository)]
SubnetId = Annotated[str, _shaped(r"subnet-[0-9a-f]{8,17}", "a subnet ID like subnet-0a1b2c3d")]
GroupId = Annotated[str, _shaped(r"sg-[0-9a-f]{8,17}", "a security group ID like sg-0a1b2c3d")]
VpcId = Annotated[str, _shaped(r"vpc-[0-9a-f]{8,17}", "a VPC ID like vpc-0a1b2c3d")]
Bucket = Annotated[str, _shaped(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", "a bucket's bare name")]
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


class _Section(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, extra="forbid", frozen=True)


class Model(_Section):
    """One model: an S3 object, an S3 prefix (ending in `/`) or an HTTP(S) file."""

    source: Annotated[str, AfterValidator(_model_source)]
    destination: Destination | None = None
    checksums: Annotated[str, _shaped(r"https?://[^/@\s]+/\S+", "an HTTP(S) address")] | None = None
    sha256: Sha256 | None = Field(None, validate_default=True)

    def place(self) -> str:
        """Where it goes: the file's path, or the folder for a prefix's files."""
        if self.destination:
            return self.destination
        return f"{MODELS_FOLDER}/{self.source.partition('?')[0].rpartition('/')[2]}"

    @field_validator("sha256")
    @classmethod
    def _pins_one_file(cls, sha256: str | None, info: ValidationInfo) -> str | None:
        source = info.data.get("source", "")
        if source.startswith("http") and not sha256 and not info.data.get("checksums"):
            raise ValueError(f"or checksums is required, because {source} is fetched over HTTP")
        if source.endswith("/") and sha256:
            raise ValueError(f"belongs to a single file, but {source} is a prefix of many")
        return sha256


class Timeouts(_Section):
    """Minutes that each stage of a bake may take; None leaves the bake's own default."""

    capacity: Minutes | None = None
    ready: Minutes | None = None
    update: Minutes | None = None
    pull: Minutes | None = None
    models: Minutes | None = None
    step: Minutes | None = None
    image: Minutes | None = None
    verify: Minutes | None = None


class Build(_Section):
    """Where and how the AMI is baked. Nothing here changes the AMI, so nothing rebakes it."""

    instance_types: tuple[MachineType, ...] = Field(
        ("g5.xlarge", "g5.2xlarge", "g4dn.xlarge"), min_length=1, max_length=20
    )
    capacity: Literal["spot", "spot-then-on-demand", "on-demand"] = "spot-then-on-demand"
    verify: Annotated[
        Annotated[str, _shaped(r"on|off|[a-z][a-z0-9-]*\.[a-z0-9-]+", "on, off or a machine type")],
        BeforeValidator(_on_off),
    ] = "on"
    timeouts: Timeouts = Timeouts()
    debug: bool = False
    on_failure: Literal["cleanup", "keep"] = "cleanup"


class Batch(_Section):
    """The compute environment that starts machines from the AMI."""

    instance_types: tuple[MachineType, ...] = Field(
        ("g5.xlarge", "g5.2xlarge"), min_length=1, max_length=20
    )
    capacity: Literal["spot", "on-demand"] = "spot"
    min_vcpus: int = Field(0, ge=0)
    max_vcpus: int = Field(16, ge=1, le=10_000)
    terminate_jobs_on_update: bool = False
    job_minutes_on_update: int = Field(30, ge=1, le=360)
    volume_initialization_rate: Annotated[int | Literal["auto", "off"], WrapValidator(_rate)] = (
        "auto"
    )
    volume_iops: int = Field(3000, ge=3000, le=80_000)
    volume_throughput: int = Field(250, ge=125, le=2000)
    log_retention_days: Annotated[int, AfterValidator(_retention)] = 30

    @field_validator("max_vcpus")
    @classmethod
    def _room(cls, most: int, info: ValidationInfo) -> int:
        if most < info.data.get("min_vcpus", 0):
            raise ValueError(f"is {most}, below minVcpus {info.data['min_vcpus']}")
        return most


class Job(_Section):
    """What one job asks of its machine."""

    command: tuple[str, ...] = ()
    gpus: int = Field(1, ge=0, le=16)
    vcpus: int = Field(4, ge=1, le=192)
    memory_mib: int = Field(12_288, ge=4)
    timeout_minutes: int = Field(120, ge=1, le=20_160)
    attempts: int = Field(3, ge=1, le=10)


class Settings(_Section):
    """Everything that a stack may say under `baked-ami:`. Pulumi.example.yaml explains each."""

    region: str = Field(alias="aws:region", pattern=r"^[a-z]{2}(-[a-z]+)+-\d$")
    repository_url: Repository
    image_tag: Tag | None = None
    image_digest: Digest | None = None
    subnet_ids: tuple[SubnetId, ...] = Field(min_length=1)
    vpc_id: VpcId | None = None
    security_group_ids: tuple[GroupId, ...] = Field((), validate_default=True)
    models_bucket: Bucket | None = None
    models: tuple[Model, ...] = ()
    base_ami: BaseAmi = "al2023-gpu"
    base_family: Literal["al2023", "al2"] | None = None
    base_update: Literal["with-content", "always", "never"] = "with-content"
    system_update: bool = True
    root_volume_gib: int = Field(30, ge=8, le=65_536)
    build: Build = Build()
    batch: Batch = Batch()
    job: Job = Job()
    tags: dict[str, str] = Field(default_factory=dict)

    @field_validator("image_digest")
    @classmethod
    def _one_version(cls, digest: str | None, info: ValidationInfo) -> str | None:
        if digest and info.data.get("image_tag"):
            raise ValueError("is given beside imageTag; keep one of the two")
        return digest

    @field_validator("security_group_ids")
    @classmethod
    def _one_network(cls, groups: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        vpc = info.data.get("vpc_id", "faulty itself")
        if groups and vpc:
            raise ValueError("is given beside vpcId, which is for stacks without groups; keep one")
        if not groups and not vpc:
            raise ValueError(
                "is required, for example [sg-0a1b2c3d4e5f60718]; or give vpcId, and a group with "
                "port 443 out and nothing in is made there"
            )
        return groups

    @property
    def family(self) -> Literal["al2023", "al2"]:
        """The Amazon Linux of the base AMI: as said, else as its name says, else AL2023."""
        if self.base_family:
            return self.base_family
        old = self.base_ami == "al2-gpu" or "/amazon-linux-2/" in self.base_ami
        return "al2" if old else "al2023"

    def all_models(self) -> tuple[Model, ...]:
        """The bucket's `models/` prefix, where a bucket is named, and every model of the list."""
        if self.models_bucket is None:
            return self.models
        return (
            Model(source=f"s3://{self.models_bucket}/models/", destination=f"{MODELS_FOLDER}/"),
            *self.models,
        )


def read_settings(config: Mapping[str, str] | None = None) -> Settings:
    """The settings of the running stack, or of `config` (full key -> text, as the engine has it).

    Raises `SettingsError` with every fault, each under its key. Asks nothing of AWS.
    """
    raw = pulumi.runtime.get_config_env() if config is None else dict(config)
    region = raw.get("aws:region") or os.environ.get("AWS_REGION")
    values: dict[str, Any] = {"aws:region": region} if region else {}
    faults = []
    for key, text in raw.items():
        namespace, _, name = key.partition(":")
        if namespace == NAMESPACE:
            values[name] = _structured(text)
            faults += _placeholders(name, values[name])
    try:
        settings = Settings.model_validate(values)
    except ValidationError as error:
        faults += map(_explain, error.errors())
    faults = _innermost(faults)
    if faults:
        lines = "\n".join(f"  {key}: {message}" for key, message in sorted(faults))
        count = "1 setting is" if len(faults) == 1 else f"{len(faults)} settings are"
        raise SettingsError(
            f"{count} not usable; nothing was asked of AWS.\n{lines}\n"
            "  Change Pulumi.<stack>.yaml; Pulumi.example.yaml explains every key."
        )
    return settings


def _structured(text: str) -> Any:
    """Lists and maps reach the program as JSON; anything else stays text."""
    if text[:1] not in "[{":
        return text
    try:
        return json.loads(text)
    except ValueError:
        return text


def _placeholders(key: str, value: Any) -> list[tuple[str, str]]:
    """A fault for each text that still says REPLACE, however deep it sits."""
    if isinstance(value, str) and "REPLACE" in value:
        return [(_full(key), f"still holds the placeholder {value!r}; put your own value there")]
    if isinstance(value, dict):
        return [f for name, part in value.items() for f in _placeholders(f"{key}.{name}", part)]
    if isinstance(value, list):
        return [f for at, part in enumerate(value) for f in _placeholders(f"{key}[{at}]", part)]
    return []


def _innermost(faults: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """One fault a key, the first told; none for a list or map whose own parts are at fault."""
    first = dict(reversed(faults))
    return [
        (key, message)
        for key, message in first.items()
        if not any(other.startswith((f"{key}[", f"{key}.")) for other in first)
    ]


def _full(path: str) -> str:
    return path if path.startswith("aws:") else f"{NAMESPACE}:{path}"


def _explain(error: ErrorDetails) -> tuple[str, str]:
    """The key and the message of one of pydantic's errors, in a reader's words."""
    path = "".join(
        f"[{part}]" if isinstance(part, int) else f".{part}" for part in error["loc"]
    ).lstrip(".")
    name = str(error["loc"][-1]) if error["loc"] else ""
    given = error.get("input")
    match error["type"]:
        case "missing":
            return _full(path), f"is required, for example {EXAMPLES[name]}"
        case "extra_forbidden":
            return _full(path), f"is not a setting{_nearest(error['loc'])}"
        case "tuple_type":
            return _full(path), f"must be a list, but is {given!r}: write [{given}]"
        case "value_error":
            message = error["msg"].removeprefix("Value error, ")
            told = isinstance(given, str) and not message.startswith("is given")
            if path in Settings.model_fields:  # a default at fault goes by its Python name
                path = to_camel(path)
            return _full(path), f"{given!r} {message}" if told else message
    return _full(path), f"{error['msg'][0].lower()}{error['msg'][1:]}, but is {given!r}"


def _nearest(location: tuple[int | str, ...]) -> str:
    """The known key that an unknown one may have meant, in the section where it stands."""
    section: type[BaseModel] = Settings
    for part in location[:-1]:
        if isinstance(part, str):
            section = _sections().get(part, section)
    names = [field.alias or name for name, field in section.model_fields.items()]
    close = difflib.get_close_matches(str(location[-1]), names, n=1)
    return f"; did you mean {close[0]}?" if close else f"; known here: {', '.join(sorted(names))}"


def _sections() -> dict[str, type[BaseModel]]:
    return {"build": Build, "timeouts": Timeouts, "batch": Batch, "job": Job, "models": Model}
