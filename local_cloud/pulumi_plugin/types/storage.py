"""`aws:s3/bucket:Bucket`, its objects, and `aws:ecr/repository:Repository`."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

from local_cloud.pulumi_plugin.aws import Account, error_code
from local_cloud.pulumi_plugin.fields import asset, block, blocks, boolean, mapping, text
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
        request["Tagging"] = "&".join(f"{key}={value}" for key, value in news["tags"].items())
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

# -- repositories ----------------------------------------------------------------------------


def _create_repository(account: Account, news: Props) -> str:
    request: Props = {
        "repositoryName": news["name"],
        "imageTagMutability": news["imageTagMutability"],
        "tags": tag_list(news.get("tags")),
    }
    if news.get("imageScanningConfiguration"):
        request["imageScanningConfiguration"] = news["imageScanningConfiguration"]
    encryption = news.get("encryptionConfigurations")
    if encryption:
        given = {"encryptionType": encryption[0].get("encryptionType", "AES256")}
        if encryption[0].get("kmsKey"):
            given["kmsKey"] = encryption[0]["kmsKey"]
        request["encryptionConfiguration"] = given
    answer = account.client("ecr").create_repository(**request)
    return str(answer["repository"]["repositoryName"])


def _read_repository(account: Account, resource_id: str, state: Props) -> Props | None:
    ecr = account.client("ecr")
    try:
        answer = ecr.describe_repositories(repositoryNames=[resource_id])
    except Exception as error:
        if error_code(error) == "RepositoryNotFoundException":
            return None
        raise
    found = answer["repositories"][0]
    arn = found["repositoryArn"]
    return {
        "arn": arn,
        "encryptionConfigurations": [found.get("encryptionConfiguration") or {}],
        "forceDelete": state.get("forceDelete"),
        "imageScanningConfiguration": found.get("imageScanningConfiguration"),
        "imageTagMutability": found.get("imageTagMutability", "MUTABLE"),
        "name": resource_id,
        "region": account.region,
        "registryId": found["registryId"],
        "repositoryUrl": found["repositoryUri"],
        "tags": tag_map(ecr.list_tags_for_resource(resourceArn=arn).get("tags")),
    }


def _update_repository(
    account: Account, resource_id: str, olds: Props, news: Props, changed: frozenset[str]
) -> Props:
    ecr = account.client("ecr")
    if "imageTagMutability" in changed:
        ecr.put_image_tag_mutability(
            repositoryName=resource_id, imageTagMutability=news["imageTagMutability"]
        )
    if "imageScanningConfiguration" in changed:
        ecr.put_image_scanning_configuration(
            repositoryName=resource_id,
            imageScanningConfiguration=news.get("imageScanningConfiguration")
            or {"scanOnPush": False},
        )
    to_set, to_remove = tag_changes(olds, news)
    if to_remove:
        ecr.untag_resource(resourceArn=olds["arn"], tagKeys=to_remove)
    if to_set:
        ecr.tag_resource(resourceArn=olds["arn"], tags=tag_list(to_set))
    return {}


def _delete_repository(account: Account, resource_id: str, state: Props) -> None:
    try:
        account.client("ecr").delete_repository(
            repositoryName=resource_id, force=bool(state.get("forceDelete"))
        )
    except Exception as error:
        if error_code(error) != "RepositoryNotFoundException":
            raise


REPOSITORY = ResourceType(
    pulumi_type="aws:ecr/repository:Repository",
    inputs={
        "encryptionConfigurations": blocks(
            {"encryptionType": text(), "kmsKey": text(computed=True)}, replaces=True, computed=True
        ),
        "forceDelete": boolean(),
        "imageScanningConfiguration": block({"scanOnPush": boolean(required=True)}, computed=True),
        "imageTagMutability": text(default="MUTABLE"),
        "name": text(required=True, replaces=True),
        "tags": TAGS,
    },
    outputs=("arn", "registryId", "repositoryUrl", "tagsAll"),
    auto_name=AutoName(prefix_attribute=None, max_length=256, lower=True),
    create=_create_repository,
    read=_read_repository,
    update=_update_repository,
    delete=_delete_repository,
)
