"""Models: S3 object, S3 prefix or URL -> the files they are and how their bytes are known."""

from __future__ import annotations

import base64
import posixpath
from collections.abc import Iterator
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from ami_provider import errors
from ami_provider.aws import Aws
from ami_provider.contents import Model, check_destination
from ami_provider.faults import Fault, FaultsError
from ami_provider.lookups.asking import Question, fault_of
from ami_provider.resolved import ResolvedModel

CHECKSUM_FILE_BYTES = 1024 * 1024
"""A checksum file is read up to here: about 10,000 lines."""


def find_questions(model: Model, path: str, aws: Aws) -> list[Question[ResolvedModel]]:
    """The look-ups that resolve this input: one a file. Lists a prefix. Raises `FaultsError`."""
    if model.is_http:
        return [partial(_get_http, model, path)]
    bucket, key = _split(model.source)
    if not model.is_prefix:
        return [partial(_get_object, model, path, bucket, key, model.destination, aws)]
    folder = model.destination.rstrip("/")
    places = {k: f"{folder}/{k.removeprefix(key)}" for k in _list_keys(bucket, key, path, aws)}
    faults = [Fault(f"{path}.source", f"object {k!r}: {reason}")
              for k, place in places.items() for reason in _bad_place(place)]  # fmt: skip
    if not places:
        faults = [Fault(f"{path}.source", f"there is no object below {model.source}. Upload the "
                        f"models, or correct the prefix.")]  # fmt: skip
    if faults:
        raise FaultsError(faults)
    return [partial(_get_object, model, path, bucket, k, p, aws) for k, p in places.items()]


def _split(source: str) -> tuple[str, str]:
    parts = source.removeprefix("s3://").partition("/")
    return parts[0], parts[2]


def _bad_place(place: str) -> Iterator[str]:
    try:
        check_destination(place)
    except ValueError as error:
        yield str(error)


def _list_keys(bucket: str, prefix: str, path: str, aws: Aws) -> list[str]:
    """Every object below the prefix; the "folders" that consoles make drop out."""
    pages = aws.s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
    try:
        return [
            str(item["Key"])
            for page in pages
            for item in page.get("Contents", [])
            if not item["Key"].endswith("/")
        ]
    except Exception as error:
        if errors.get_code(error) == "NoSuchBucket":
            raise FaultsError([_no_bucket(bucket, path)]) from None
        raise fault_of(error, f"{path}.source", "s3:ListBucket", on=f"bucket {bucket}") from None


def _get_object(
    model: Model, path: str, bucket: str, key: str, destination: str, aws: Aws
) -> ResolvedModel:
    source = f"s3://{bucket}/{key}"
    try:
        head = aws.s3.head_object(Bucket=bucket, Key=key, ChecksumMode="ENABLED")
    except Exception as error:
        if errors.is_not_found(error):
            raise FaultsError([_missing(bucket, source, path, aws)]) from None
        if errors.is_access_denied(error):
            raise FaultsError([_denied(bucket, source, path)]) from None
        raise fault_of(error, f"{path}.source", "s3:GetObject", on=source) from None
    known = find_sha256(head)
    if model.sha256 and known and model.sha256 != known:
        raise FaultsError([Fault(f"{path}.sha256", f"is {model.sha256}, but S3 has {known} for "
                                 f"{source}. Correct it, or upload the right file.")])  # fmt: skip
    version = head.get("VersionId")
    return ResolvedModel(
        source=source,
        destination=destination,
        sha256=model.sha256 or known,
        version_id=version if version != "null" else None,
        etag=head["ETag"].strip('"'),
        size_bytes=int(head["ContentLength"]),
    )


def find_sha256(head: Any) -> str | None:
    """The SHA-256 of a whole object as S3 keeps it; None for a checksum of parts' checksums."""
    checksum = head.get("ChecksumSHA256")
    if not checksum or head.get("ChecksumType", "FULL_OBJECT") != "FULL_OBJECT" or "-" in checksum:
        return None
    return base64.b64decode(checksum).hex()


def _missing(bucket: str, source: str, path: str, aws: Aws) -> Fault:
    """HeadObject's 404 has no body that says whether object or bucket is missing: ask."""
    try:
        aws.s3.head_bucket(Bucket=bucket)
    except Exception as error:
        if errors.is_not_found(error):
            return _no_bucket(bucket, path)
        if not errors.is_aws_error(error):
            raise
    return Fault(f"{path}.source", f"there is no object {source}. Upload it, or correct the key "
                 f"(keys are case-sensitive).")  # fmt: skip


def _no_bucket(bucket: str, path: str) -> Fault:
    return Fault(f"{path}.source", f"there is no bucket {bucket!r}. Correct its name or create it.")


def _denied(bucket: str, source: str, path: str) -> Fault:
    return Fault(
        f"{path}.source",
        f"access to {source} is denied: permission s3:GetObject is missing (or, where there is no "
        f"such object, s3:ListBucket on {bucket}, without which S3 says the same). Add it to the "
        f"policy of the identity that runs Pulumi, and check the bucket's own policy.",
    )


def _get_http(model: Model, path: str) -> ResolvedModel:
    sha256 = model.sha256 or _read_checksum(model, path)
    return ResolvedModel(source=model.source, destination=model.destination, sha256=sha256)


def _read_checksum(model: Model, path: str) -> str:
    """The file's line in a checksum file as `sha256sum` writes it. Raises `FaultsError`."""
    import urllib3

    url, at = str(model.checksums), f"{path}.checksums"
    try:
        with urllib3.PoolManager(retries=2, timeout=15.0) as pool:
            answer = pool.request("GET", url, preload_content=False)
            status, text = answer.status, answer.read(CHECKSUM_FILE_BYTES).decode(errors="replace")
            answer.release_conn()
    except urllib3.exceptions.HTTPError as error:
        reason = f"{url} cannot be read: {error}. Correct the URL, or give sha256 instead."
        raise FaultsError([Fault(at, reason)]) from None
    if status != 200:
        reason = f"{url} answers {status}. Correct the URL, or give sha256 instead."
        raise FaultsError([Fault(at, reason)])
    name = posixpath.basename(urlsplit(model.source).path)
    for line in text.splitlines():
        digest, _, rest = line.strip().partition(" ")
        is_digest = len(digest) == 64 and all(c in "0123456789abcdefABCDEF" for c in digest)
        if is_digest and posixpath.basename(rest.strip().lstrip("*")) == name:
            return digest.lower()
    reason = f"{url} has no line for {name!r}. Name the right file, or give sha256 instead."
    raise FaultsError([Fault(at, reason)])


def check_http(model: Model, path: str) -> None:
    """Raises `FaultsError` where the server says for certain that there is no such file.

    That is 404 or 410; anything else (no HEAD, no network from here) says nothing about what the
    builder will see.
    """
    import urllib3

    try:
        with urllib3.PoolManager(retries=1, timeout=10.0) as pool:
            status = pool.request("HEAD", model.source, redirect=True).status
    except urllib3.exceptions.HTTPError:
        return
    if status in (404, 410):
        reason = f"{model.source} answers {status}: there is no such file. Correct the URL."
        raise FaultsError([Fault(f"{path}.source", reason)])
