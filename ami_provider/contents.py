"""What goes into an image from outside: container images and models, checked as given. Pure."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Sequence
from typing import Annotated, Self
from urllib.parse import quote, urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, model_validator

from ami_provider.faults import refuse

# Volatile, emptied by the clean-up, or owned by the system or by an engine.
FORBIDDEN_FOLDERS = (
    "/bin", "/boot", "/dev", "/etc", "/lib", "/lib64", "/proc", "/root/.docker", "/run", "/sbin",
    "/sys", "/tmp", "/usr/bin", "/usr/lib", "/usr/lib64", "/usr/sbin", "/var/cache",  # noqa: S108
    "/var/lib/amazon", "/var/lib/cloud", "/var/lib/containerd", "/var/lib/docker", "/var/lib/ecs",
    "/var/log", "/var/run", "/var/tmp",  # noqa: S108
)  # fmt: skip

REPOSITORY = re.compile(
    r"(?P<account>\d{12})\.dkr\.ecr(?:-fips)?\.(?P<region>[a-z0-9-]+)\.amazonaws\.com(?:\.cn)?"
    r"/(?P<name>[a-z0-9]+(?:[._/-]+[a-z0-9]+)*)"
)
DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
SIGNED = re.compile(
    r"(^|&)(X-Amz-Signature|X-Goog-Signature|Signature|AWSAccessKeyId|sig|(access_?|auth_?)?token"
    r"|api_?key|passw(or)?d)=",
    re.IGNORECASE,
)
"""What makes a URL a secret: S3's and CloudFront's, Google's and Azure's signatures, tokens."""
URL_SAFE = "%/:=&?~#+!$,;'@()*[]"
"""What stays as it is where a URL's other characters are written as `%20` and so on."""
SHA256 = re.compile(r"[0-9a-f]{64}")
BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
KEY = re.compile(
    r"arn:aws[\w-]*:kms:[\w-]+:\d{12}:(key|alias)/\S+|alias/\S+|(mrk-)?[0-9a-f-]{32,36}"
)


class Frozen(BaseModel):
    """A parsed input: cannot change, takes no unknown field and guesses no type."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")


def _check_repository(value: str) -> str:
    if REPOSITORY.fullmatch(value):
        return value
    plain = re.split(r"[@:]", value.removeprefix("https://").removeprefix("http://"))[0]
    hint = "Copy the URI from `aws ecr describe-repositories`."
    if REPOSITORY.fullmatch(plain):
        hint = f"Write {plain!r}, and give tag or digest as inputs of their own."
    raise ValueError(
        f"{value!r} is not the URI of an ECR repository such as "
        f"123456789012.dkr.ecr.ap-northeast-2.amazonaws.com/batch-processor. {hint}"
    )


def _check_tag(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}", value):
        raise ValueError(
            f"{value!r} is not an image tag: letters, digits, '_', '.', '-', at most 128."
        )
    return value


def _check_digest(value: str) -> str:
    if not DIGEST.fullmatch(value):
        raise ValueError(
            f"{value!r} is not an image digest: 'sha256:' and 64 hexadecimal digits in lower case."
        )
    return value


def _check_sha256(value: str) -> str:
    if not SHA256.fullmatch(value.lower()):
        raise ValueError(
            f"{value!r} is not a SHA-256: 64 hexadecimal digits, as `sha256sum FILE` prints them."
        )
    return value.lower()


def _check_url(value: str) -> str:
    """A web address that is no secret, as a request has it."""
    parts = urlsplit(value)
    if parts.username or parts.password:
        raise ValueError(
            "holds a user name or password, which would be kept in the state and the AMI's "
            "manifest. Use a signed-in S3 object or a URL without credentials."
        )
    if SIGNED.search(parts.query):
        raise ValueError(
            "is a signed URL: it is a secret while it lasts, would be kept in the state and "
            "the AMI's manifest, and changes with each signing. Give the object itself, as "
            "s3://bucket/key, or a URL without a signature."
        )
    if re.search(r"[^\x21-\x7e]", value):
        raise ValueError(
            f"{value!r} has a blank or a character outside plain ASCII. A request has it as "
            f"{quote(value.strip(), safe=URL_SAFE)!r}: write that."
        )
    return value


def _check_source(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme in ("http", "https") and parts.netloc and len(parts.path) > 1:
        return _check_url(value)
    if parts.scheme == "s3" and BUCKET.fullmatch(parts.netloc) and len(parts.path) > 1:
        return value
    if parts.scheme == "s3" and not BUCKET.fullmatch(parts.netloc):
        raise ValueError(f"{value!r} has no valid bucket name. Write s3://bucket/key.")
    raise ValueError(
        f"{value!r} is not a model source. Give an http(s):// file, an s3://bucket/key object, "
        f"or an s3://bucket/prefix/ that ends in '/' for everything below it."
    )


def check_destination(value: str) -> str:
    """The path as it is written on the image; raises ValueError saying what is wrong with it."""
    trimmed = value.rstrip("/")
    if not value.startswith("/") or not trimmed:
        raise ValueError(f"{value!r} is not an absolute path such as /opt/ml/models/model.pt.")
    if posixpath.normpath(trimmed) != trimmed or "//" in value:
        raise ValueError(f"{value!r} must be a plain path, without '.', '..' or '//' in it.")
    if re.search(r"[^\x21-\x7e]|[\"'\\$`]", value):
        raise ValueError(f"{value!r} has a blank, a quote or a character outside plain ASCII.")
    for folder in FORBIDDEN_FOLDERS:
        if trimmed == folder or trimmed.startswith(f"{folder}/"):
            raise ValueError(
                f"{value!r} is under {folder}, which belongs to the system or is emptied before "
                f"imaging. Choose a folder such as /opt/ml/models."
            )
    return value


def check_key_name(value: str) -> str:
    """The name of a KMS key; raises ValueError where it cannot be one."""
    if not KEY.fullmatch(value):
        raise ValueError(f"{value!r} is not a KMS key: give its ID, its ARN, or alias/NAME.")
    return value


Sha256 = Annotated[str, AfterValidator(_check_sha256)]
Digest = Annotated[str, AfterValidator(_check_digest)]


class ContainerImage(Frozen):
    """An image of an ECR repository that is pulled into the AMI: by `tag` or by `digest`."""

    repository: Annotated[str, AfterValidator(_check_repository)]
    tag: Annotated[str, AfterValidator(_check_tag)] | None = None
    digest: Digest | None = None

    @model_validator(mode="after")
    def _one_reference(self) -> Self:
        if self.tag and self.digest:
            raise refuse((("digest",), "tag and digest are both given; keep one of them."))
        if not self.tag and not self.digest:
            raise refuse((("tag",), "neither tag nor digest is given; add one, such as 'latest'."))
        return self


class Model(Frozen):
    """A file (or every file below an S3 prefix) that is put on the image.

    `source`: http(s) URL, `s3://bucket/key`, or `s3://bucket/prefix/`. `destination`: the file's
    absolute path, or the folder for a prefix. `sha256` is required for http(s), unless
    `checksums` is the URL of a checksum file in `sha256sum`'s format that names the file.
    """

    source: Annotated[str, AfterValidator(_check_source)]
    destination: Annotated[str, AfterValidator(check_destination)]
    sha256: Sha256 | None = None
    checksums: str | None = None

    @property
    def is_http(self) -> bool:
        return not self.source.startswith("s3://")

    @property
    def is_prefix(self) -> bool:
        return not self.is_http and self.source.endswith("/")

    @model_validator(mode="after")
    def _checkable(self) -> Self:
        found = [((field,), why) for field, why in _model_faults(self)]
        if found:
            raise refuse(*found)
        return self


def _model_faults(model: Model) -> Iterator[tuple[str, str]]:
    if model.is_http and not model.sha256 and not model.checksums:
        yield (
            "sha256",
            f"is required for {model.source!r}: a web server promises nothing. Give the file's "
            f"SHA-256 (`sha256sum FILE`), or `checksums` with the URL of a checksum file.",
        )
    if model.is_prefix and model.sha256:
        yield (
            "sha256",
            f"is given, but {model.source!r} is a prefix of many objects. Leave it out, or name "
            f"one object.",
        )
    if model.checksums:
        try:
            _check_url(model.checksums)
        except ValueError as error:
            yield "checksums", str(error)
        else:
            if not re.match(r"https?://[^/]+/.", model.checksums):
                yield "checksums", f"{model.checksums!r} is not an http(s) URL."
    if model.checksums and not model.is_http:
        yield "checksums", "is only for http(s) sources; S3 keeps checksums itself."
    if model.destination.endswith("/") and not model.is_prefix:
        yield (
            "destination",
            f"{model.destination!r} is a folder, but one file is put there. Add the file's name.",
        )


ANOTHER = "Give one of them another destination."


def find_clashes(places: Sequence[tuple[str, str, bool]]) -> Iterator[tuple[int, str]]:
    """Indexes of (name, destination, is a folder) that would overwrite another, with the reason.

    Folders may share a place or hold other destinations; what is in them is compared once it is
    listed. A file may have neither another file at its path nor anything below it.
    """
    first: dict[str, str] = {}
    files = {path.rstrip("/"): name for name, path, folder in reversed(places) if not folder}
    for index, (name, path, folder) in enumerate(places):
        here = path.rstrip("/")
        if not folder and here in first:
            yield index, f"{path!r} is the destination of {first[here]} too. {ANOTHER}"
            continue
        above = {here} if folder else set()
        parent = posixpath.dirname(here)
        while parent != "/":
            above.add(parent)
            parent = posixpath.dirname(parent)
        blocked = next(iter(sorted(above & files.keys())), None)
        if blocked is not None:
            holder = f"{blocked!r}, the file of {files[blocked]}"
            yield index, f"{path!r} is {'below ' if blocked != here else ''}{holder}. {ANOTHER}"
        if not folder:
            first[here] = name
