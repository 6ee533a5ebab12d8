"""`aws:s3/bucket:Bucket` and its objects."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from local_cloud.pulumi_plugin.aws import Account, error_code
from local_cloud.pulumi_plugin.fields import asset, block, boolean, mapping, text
from local_cloud.pulumi_plugin.resource_type import TAGS, AutoName, ResourceType
from local_cloud.pulumi_plugin.types.tagging import full_name, tag_changes, tag_list, tag_map
from local_cloud.pulumi_plugin.values import Props, is_asset

# -- buckets ---------------------------------------------------------------------------------

_GONE = ("NoSuchBucket", "404", "NotFound")


def _create_bucket(account: Account, news: Props) -> str:
    name = full_name(news, "bucket", "bucketPrefix")
    request: Props = {"Bucket": name}
    if account.region != "us-east-1":
        request["CreateBucketConfiguration"] = {"LocationConstraint": account.region}
    account.client("s3").create_bucket(**request)
    return name


def _finish_bucket(account: Account, resource_id: str, news: Props) -> None:
    _apply_bucket(account.client("s3"), resource_id, {}, news)


def _apply_bucket(s3: Any, name: str, olds: Props, news: Props) -> None:
    enabled = (news.get("versioning") or {}).get("enabled", False)
    if enabled != (olds.get("versioning") or {}).get("enabled", False):
        status = "Enabled" if enabled else "Suspended"
        s3.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": status})
    if any(tag_changes(olds, news)):
        if news.get("tags"):
            s3.put_bucket_tagging(Bucket=name, Tagging={"TagSet": tag_list(news["tags"])})
        else:
            s3.delete_bucket_tagging(Bucket=name)


def _read_bucket(account: Account, resource_id: str, state: Props) -> Props | None:
    s3 = account.client("s3")
    try:
        s3.head_bucket(Bucket=resource_id)
        versioning = s3.get_bucket_versioning(Bucket=resource_id)
    except Exception as error:
        if error_code(error) in _GONE:
            return None
        raise
    try:
        tags = tag_map(s3.get_bucket_tagging(Bucket=resource_id)["TagSet"])
    except Exception as error:
        if error_code(error) != "NoSuchTagSet":
            raise
        tags = {}
    suffix = account.dns_suffix
    return {
        "arn": f"arn:{account.partition}:s3:::{resource_id}",
        "bucket": resource_id,
        "bucketDomainName": f"{resource_id}.s3.{suffix}",
        "bucketRegion": account.region,
        "bucketRegionalDomainName": f"{resource_id}.s3.{account.region}.{suffix}",
        "forceDestroy": state.get("forceDestroy", False),
        "region": account.region,
        "tags": tags,
        "versioning": {"enabled": versioning.get("Status") == "Enabled"},
    }


def _update_bucket(
    account: Account, resource_id: str, olds: Props, news: Props, changed: frozenset[str]
) -> Props:
    _apply_bucket(account.client("s3"), resource_id, olds, news)
    return {}


def _delete_bucket(account: Account, resource_id: str, state: Props) -> None:
    s3 = account.client("s3")
    try:
        if state.get("forceDestroy"):
            _empty(s3, resource_id)
        s3.delete_bucket(Bucket=resource_id)
    except Exception as error:
        if error_code(error) not in _GONE:
            raise


def _empty(s3: Any, bucket: str) -> None:
    for page in s3.get_paginator("list_object_versions").paginate(Bucket=bucket):
        found = page.get("Versions", []) + page.get("DeleteMarkers", [])
        keys = [{"Key": item["Key"], "VersionId": item["VersionId"]} for item in found]
        if keys:
            s3.delete_objects(Bucket=bucket, Delete={"Objects": keys, "Quiet": True})


BUCKET = ResourceType(
    pulumi_type="aws:s3/bucket:Bucket",
    inputs={
        "bucket": text(replaces=True, computed=True),
        "bucketPrefix": text(replaces=True, computed=True),
        "forceDestroy": boolean(default=False),
        "tags": TAGS,
        "versioning": block({"enabled": boolean()}, computed=True),
    },
    outputs=("arn", "bucketDomainName", "bucketRegion", "bucketRegionalDomainName", "tagsAll"),
    conflicts=(("bucket", "bucketPrefix"),),
    auto_name=AutoName(
        attribute="bucket", prefix_attribute="bucketPrefix", max_length=63, lower=True
    ),
    create=_create_bucket,
    finish=_finish_bucket,
    read=_read_bucket,
    update=_update_bucket,
    delete=_delete_bucket,
)

# -- objects in buckets ----------------------------------------------------------------------


def _body(news: Props) -> bytes:
    if news.get("content") is not None:
        return str(news["content"]).encode()
    if news.get("contentBase64") is not None:
        return base64.b64decode(news["contentBase64"])
    source = news.get("source")
    if is_asset(source) and source is not None:
        if source.get("path"):
            return Path(source["path"]).read_bytes()
        if source.get("text") is not None:
            return str(source["text"]).encode()
        raise ValueError("the stand-in does not model links as the source of an object")
    return b""


def _put_object(account: Account, news: Props) -> str:
    request: Props = {"Bucket": news["bucket"], "Key": news["key"], "Body": _body(news)}
    if news.get("contentType"):
        request["ContentType"] = news["contentType"]
    if news.get("metadata"):
        request["Metadata"] = news["metadata"]
    if news.get("tags"):
        request["Tagging"] = urlencode(news["tags"])
    account.client("s3").put_object(**request)
    return f"{news['bucket']}/{news['key']}"


def _read_object(account: Account, resource_id: str, state: Props) -> Props | None:
    bucket, key = state.get("bucket"), state.get("key")
    if not bucket or not key:
        bucket, _, key = resource_id.partition("/")
    s3 = account.client("s3")
    try:
        head = s3.head_object(Bucket=bucket, Key=key)
    except Exception as error:
        if error_code(error) in (*_GONE, "NoSuchKey"):
            return None
        raise
    return {
        "arn": f"arn:{account.partition}:s3:::{bucket}/{key}",
        "bucket": bucket,
        "contentType": head.get("ContentType"),
        "etag": head["ETag"].strip('"'),
        "forceDestroy": state.get("forceDestroy", False),
        "key": key,
        "metadata": head.get("Metadata") or {},
        "region": account.region,
        "tags": tag_map(s3.get_object_tagging(Bucket=bucket, Key=key)["TagSet"]),
        "versionId": head.get("VersionId", ""),
    }


def _update_object(
    account: Account, resource_id: str, olds: Props, news: Props, changed: frozenset[str]
) -> Props:
    _put_object(account, news)
    return {}


def _delete_object(account: Account, resource_id: str, state: Props) -> None:
    try:
        account.client("s3").delete_object(Bucket=state["bucket"], Key=state["key"])
    except Exception as error:
        if error_code(error) not in _GONE:
            raise


def _object_type(pulumi_type: str) -> ResourceType:
    return ResourceType(
        pulumi_type=pulumi_type,
        inputs={
            "bucket": text(required=True, replaces=True),
            "content": text(),
            "contentBase64": text(),
            "contentType": text(computed=True),
            "forceDestroy": boolean(default=False),
            "key": text(required=True, replaces=True),
            "metadata": mapping(),
            "source": asset(),
            "sourceHash": text(),
            "tags": TAGS,
        },
        outputs=("arn", "etag", "versionId", "tagsAll"),
        conflicts=(
            ("content", "source"),
            ("content", "contentBase64"),
            ("source", "contentBase64"),
        ),
        auto_name=AutoName(attribute="key", prefix_attribute=None, random=False, max_length=1024),
        create=_put_object,
        read=_read_object,
        update=_update_object,
        delete=_delete_object,
        unsettled=lambda _news, changed: frozenset({"etag", "versionId"} if set(changed) else ()),
    )


BUCKET_OBJECTS = (
    _object_type("aws:s3/bucketObject:BucketObject"),
    _object_type("aws:s3/bucketObjectv2:BucketObjectv2"),
)
