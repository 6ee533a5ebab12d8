"""S3 as this project's programs meet it: checksums, parts, versions, refusals, ranges."""

from __future__ import annotations

import base64
import hashlib
import http.client
import json
import os
import urllib.error
import urllib.request
import zlib
from typing import Any

import pytest
from botocore.exceptions import ClientError

from local_cloud.cloud import Cloud
from local_cloud.objects.checksums import checksum_of

from .conftest import REGION, client

MIB = 1024 * 1024


def b64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def sha256(content: bytes) -> str:
    return b64(hashlib.sha256(content).digest())


def refusal(call: Any, **params: Any) -> tuple[int, str]:
    with pytest.raises(ClientError) as caught:
        call(**params)
    answer = caught.value.response
    return answer["ResponseMetadata"]["HTTPStatusCode"], answer["Error"]["Code"]


def test_the_checksums_are_those_of_the_standards() -> None:
    check = b"123456789"  # whose CRCs every catalogue of CRCs lists
    assert checksum_of("CRC32", check) == b64(bytes.fromhex("cbf43926"))
    assert checksum_of("CRC32C", check) == b64(bytes.fromhex("e3069283"))
    assert checksum_of("CRC64NVME", check) == b64(bytes.fromhex("ae8b14860a799888"))
    assert checksum_of("SHA256", check) == sha256(check)
    assert checksum_of("SHA1", check) == b64(hashlib.sha1(check).digest())


@pytest.mark.parametrize("algorithm", ["SHA256", "SHA1", "CRC32", "CRC32C", "CRC64NVME"])
def test_a_checksum_of_the_whole_object(cloud: Cloud, bucket: str, algorithm: str) -> None:
    content = os.urandom(70_000)
    expected = checksum_of(algorithm, content)
    lax = client(cloud, "s3", request_checksum_calculation="when_required")
    named = {f"Checksum{algorithm}": expected}
    put = lax.put_object(Bucket=bucket, Key="a b/ü.bin", Body=content, **named)
    assert put[f"Checksum{algorithm}"] == expected
    assert put["ETag"] == f'"{hashlib.md5(content).hexdigest()}"'
    for call in (lax.head_object, lax.get_object):
        got = call(Bucket=bucket, Key="a b/ü.bin", ChecksumMode="ENABLED")
        assert got[f"Checksum{algorithm}"] == expected
        assert got["ChecksumType"] == "FULL_OBJECT"
        assert got["ContentLength"] == len(content)
    told = lax.get_object_attributes(
        Bucket=bucket, Key="a b/ü.bin", ObjectAttributes=["Checksum", "ObjectSize", "ETag"]
    )
    assert told["Checksum"] == {f"Checksum{algorithm}": expected, "ChecksumType": "FULL_OBJECT"}
    assert told["ObjectSize"] == len(content)
    assert told["ETag"] == hashlib.md5(content).hexdigest()
    if algorithm == "SHA256":
        without = lax.head_object(Bucket=bucket, Key="a b/ü.bin")
        assert "ChecksumSHA256" not in without


def test_boto_s_own_way_of_sending_checksums(s3: Any, bucket: str) -> None:
    content = os.urandom(3 * MIB)
    s3.put_object(Bucket=bucket, Key="own", Body=content, ChecksumAlgorithm="SHA256")
    s3.put_object(Bucket=bucket, Key="default", Body=content)
    head = s3.head_object(Bucket=bucket, Key="own", ChecksumMode="ENABLED")
    assert head["ChecksumSHA256"] == sha256(content)
    head = s3.head_object(Bucket=bucket, Key="default", ChecksumMode="ENABLED")
    assert head["ChecksumCRC32"] == b64(zlib.crc32(content).to_bytes(4, "big"))
    assert s3.get_object(Bucket=bucket, Key="own")["Body"].read() == content


def test_an_object_without_any_checksum(cloud: Cloud, bucket: str) -> None:
    lax = client(cloud, "s3", request_checksum_calculation="when_required")
    lax.put_object(Bucket=bucket, Key="bare", Body=b"bare")
    head = lax.head_object(Bucket=bucket, Key="bare", ChecksumMode="ENABLED")
    assert not [name for name in head if name.startswith("Checksum")]
    told = lax.get_object_attributes(Bucket=bucket, Key="bare", ObjectAttributes=["Checksum"])
    assert "Checksum" not in told


def test_a_wrong_checksum_leaves_nothing(cloud: Cloud, bucket: str) -> None:
    lax = client(cloud, "s3", request_checksum_calculation="when_required")
    wrong = {"ChecksumSHA256": sha256(b"other")}
    assert refusal(lax.put_object, Bucket=bucket, Key="x", Body=b"x", **wrong) == (400, "BadDigest")
    md5 = {"ContentMD5": b64(hashlib.md5(b"other").digest())}
    assert refusal(lax.put_object, Bucket=bucket, Key="x", Body=b"x", **md5) == (400, "BadDigest")
    assert refusal(lax.head_object, Bucket=bucket, Key="x") == (404, "404")
    assert list((cloud.root / "s3" / "arriving").iterdir()) == []


def upload_parts(s3: Any, bucket: str, key: str, parts: list[bytes], **more: Any) -> Any:
    started = s3.create_multipart_upload(Bucket=bucket, Key=key, **more)
    same = {"Bucket": bucket, "Key": key, "UploadId": started["UploadId"]}
    named = []
    for number, part in enumerate(parts, start=1):
        algorithm = {"ChecksumAlgorithm": "SHA256"} if more else {}
        done = s3.upload_part(**same, PartNumber=number, Body=part, **algorithm)
        named.append({"PartNumber": number, "ETag": done["ETag"]})
        if more:
            named[-1]["ChecksumSHA256"] = done["ChecksumSHA256"]
    return s3.complete_multipart_upload(**same, MultipartUpload={"Parts": named})


def test_parts_have_a_checksum_of_checksums(s3: Any, bucket: str) -> None:
    parts = [os.urandom(5 * MIB), os.urandom(5 * MIB), b"the rest"]
    whole = b"".join(parts)
    composite = sha256(b"".join(hashlib.sha256(part).digest() for part in parts))
    etag = hashlib.md5(b"".join(hashlib.md5(part).digest() for part in parts)).hexdigest()
    done = upload_parts(s3, bucket, "m", parts, ChecksumAlgorithm="SHA256")
    assert done["ChecksumSHA256"] == f"{composite}-3"
    assert done["ETag"] == f'"{etag}-3"'
    head = s3.head_object(Bucket=bucket, Key="m", ChecksumMode="ENABLED")
    assert head["ChecksumSHA256"] == f"{composite}-3"
    assert head["ChecksumType"] == "COMPOSITE"
    assert head["ContentLength"] == len(whole)
    told = s3.get_object_attributes(Bucket=bucket, Key="m", ObjectAttributes=["Checksum"])
    assert told["Checksum"] == {"ChecksumSHA256": composite, "ChecksumType": "COMPOSITE"}
    assert s3.get_object(Bucket=bucket, Key="m")["Body"].read() == whole
    second = s3.get_object(Bucket=bucket, Key="m", PartNumber=2)
    assert (second["Body"].read(), second["PartsCount"]) == (parts[1], 3)


def test_a_copy_has_a_checksum_of_the_whole(s3: Any, bucket: str) -> None:
    parts = [os.urandom(5 * MIB), b"the rest"]
    upload_parts(s3, bucket, "m", parts, ChecksumAlgorithm="SHA256")
    copied = s3.copy_object(Bucket=bucket, Key="copy", CopySource=f"{bucket}/m")
    whole = b"".join(parts)
    assert copied["CopyObjectResult"]["ETag"] == f'"{hashlib.md5(whole).hexdigest()}"'
    s3.delete_object(Bucket=bucket, Key="m")
    got = s3.get_object(Bucket=bucket, Key="copy", ChecksumMode="ENABLED")
    assert got["ChecksumSHA256"] == sha256(whole)
    assert got["ChecksumType"] == "FULL_OBJECT"
    assert got["Body"].read() == whole


def test_a_part_copied_from_another_object(s3: Any, bucket: str) -> None:
    source = os.urandom(6 * MIB)
    s3.put_object(Bucket=bucket, Key="source", Body=source)
    started = s3.create_multipart_upload(Bucket=bucket, Key="m")
    same = {"Bucket": bucket, "Key": "m", "UploadId": started["UploadId"]}
    part = s3.upload_part_copy(**same, PartNumber=1, CopySource=f"{bucket}/source")
    named = [{"PartNumber": 1, "ETag": part["CopyPartResult"]["ETag"]}]
    s3.complete_multipart_upload(**same, MultipartUpload={"Parts": named})
    assert s3.get_object(Bucket=bucket, Key="m")["Body"].read() == source


def test_parts_that_do_not_fit(s3: Any, bucket: str) -> None:
    started = s3.create_multipart_upload(Bucket=bucket, Key="m")
    same = {"Bucket": bucket, "Key": "m", "UploadId": started["UploadId"]}
    etags = [s3.upload_part(**same, PartNumber=n, Body=b"small")["ETag"] for n in (1, 2)]

    def finish(*named: tuple[int, str]) -> tuple[int, str]:
        parts = [{"PartNumber": number, "ETag": etag} for number, etag in named]
        return refusal(s3.complete_multipart_upload, **same, MultipartUpload={"Parts": parts})

    assert finish((1, etags[0]), (2, etags[1])) == (400, "EntityTooSmall")
    assert finish((2, etags[1]), (1, etags[0])) == (400, "InvalidPartOrder")
    assert finish((1, '"no"')) == (400, "InvalidPart")
    s3.abort_multipart_upload(**same)
    assert finish((1, etags[0])) == (404, "NoSuchUpload")
    assert refusal(s3.upload_part, **same, PartNumber=1, Body=b"x") == (404, "NoSuchUpload")
    assert refusal(s3.list_parts, **same) == (404, "NoSuchUpload")
    assert refusal(s3.abort_multipart_upload, **same) == (404, "NoSuchUpload")


def test_the_library_s_own_big_upload(s3: Any, bucket: str, tmp_path: Any) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(os.urandom(20 * MIB))
    s3.upload_file(str(source), bucket, "big", ExtraArgs={"ChecksumAlgorithm": "SHA256"})
    assert "-" in s3.head_object(Bucket=bucket, Key="big")["ETag"]
    s3.download_file(bucket, "big", str(target))
    assert target.read_bytes() == source.read_bytes()


@pytest.mark.parametrize(
    ("wanted", "start", "stop"), [("0-9", 0, 10), ("95-", 95, 100), ("-3", 97, 100)]
)
def test_ranges(s3: Any, bucket: str, wanted: str, start: int, stop: int) -> None:
    content = os.urandom(100)
    s3.put_object(Bucket=bucket, Key="r", Body=content)
    got = s3.get_object(Bucket=bucket, Key="r", Range=f"bytes={wanted}")
    assert got["Body"].read() == content[start:stop]
    assert got["ContentRange"] == f"bytes {start}-{stop - 1}/100"
    assert refusal(s3.get_object, Bucket=bucket, Key="r", Range="bytes=100-")[0] == 416


def test_versions(s3: Any, bucket: str) -> None:
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    first = s3.put_object(Bucket=bucket, Key="v", Body=b"first")["VersionId"]
    second = s3.put_object(Bucket=bucket, Key="v", Body=b"second")["VersionId"]
    assert first != second
    assert s3.head_object(Bucket=bucket, Key="v")["VersionId"] == second
    assert s3.get_object(Bucket=bucket, Key="v", VersionId=first)["Body"].read() == b"first"
    marker = s3.delete_object(Bucket=bucket, Key="v")
    assert marker["DeleteMarker"] is True
    assert refusal(s3.get_object, Bucket=bucket, Key="v") == (404, "NoSuchKey")
    assert s3.get_object(Bucket=bucket, Key="v", VersionId=second)["Body"].read() == b"second"
    s3.delete_object(Bucket=bucket, Key="v", VersionId=marker["VersionId"])
    assert s3.get_object(Bucket=bucket, Key="v")["Body"].read() == b"second"


def test_more_than_a_thousand_keys(cloud: Cloud, bucket: str, s3: Any) -> None:
    from local_cloud.services.s3 import put_object

    names = {f"models/{number:04}.bin" for number in range(1005)}
    for name in names:
        put_object(cloud, bucket, name, [b"x"])
    first = s3.list_objects_v2(Bucket=bucket, Prefix="models/")
    assert (first["KeyCount"], first["IsTruncated"]) == (1000, True)
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix="models/")
    assert {item["Key"] for page in pages for item in page["Contents"]} == names


def deny(bucket: str, *actions: str, path: str = "/*", **more: Any) -> str:
    statement = {
        "Effect": "Deny", "Principal": "*", "Action": list(actions),
        "Resource": f"arn:aws:s3:::{bucket}{path}", **more,
    }  # fmt: skip
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


def test_missing_and_denied_are_told_apart(s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="secret/a", Body=b"a")
    assert refusal(s3.get_object, Bucket=bucket, Key="none") == (404, "NoSuchKey")
    assert refusal(s3.head_object, Bucket=bucket, Key="none") == (404, "404")
    assert refusal(s3.get_object, Bucket="no-such-bucket", Key="x") == (404, "NoSuchBucket")
    s3.put_bucket_policy(Bucket=bucket, Policy=deny(bucket, "s3:GetObject", path="/secret/*"))
    assert refusal(s3.get_object, Bucket=bucket, Key="secret/a") == (403, "AccessDenied")
    assert refusal(s3.head_object, Bucket=bucket, Key="secret/a") == (403, "403")
    assert refusal(s3.get_object, Bucket=bucket, Key="none") == (404, "NoSuchKey")
    assert refusal(
        s3.copy_object, Bucket=bucket, Key="b", CopySource=f"{bucket}/secret/a"
    ) == (403, "AccessDenied")  # fmt: skip
    s3.put_object(Bucket=bucket, Key="secret/b", Body=b"writing is not denied")
    s3.put_bucket_policy(Bucket=bucket, Policy=deny(bucket, "s3:List*", path=""))
    assert refusal(s3.list_objects_v2, Bucket=bucket) == (403, "AccessDenied")
    assert refusal(s3.head_object, Bucket=bucket, Key="none") == (403, "403")
    assert refusal(s3.get_object, Bucket=bucket, Key="none") == (403, "AccessDenied")
    assert s3.get_object(Bucket=bucket, Key="secret/a")["Body"].read() == b"a"
    s3.put_bucket_policy(Bucket=bucket, Policy=deny(bucket, "s3:*"))
    s3.delete_bucket_policy(Bucket=bucket)
    assert s3.get_object(Bucket=bucket, Key="secret/a")["Body"].read() == b"a"


def test_policies_with_conditions(s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="a", Body=b"a")
    plain_http = {"Bool": {"aws:SecureTransport": "false"}}
    s3.put_bucket_policy(Bucket=bucket, Policy=deny(bucket, "s3:*", Condition=plain_http))
    assert s3.get_object(Bucket=bucket, Key="a")["Body"].read() == b"a"
    other = {"AWS": "arn:aws:iam::123456789012:role/other"}
    s3.put_bucket_policy(Bucket=bucket, Policy=deny(bucket, "s3:*", Principal=other))
    assert s3.get_object(Bucket=bucket, Key="a")["Body"].read() == b"a"
    unknown = {"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}}
    put = {"Bucket": bucket, "Policy": deny(bucket, "s3:*", Condition=unknown)}
    assert refusal(s3.put_bucket_policy, **put) == (501, "NotImplemented")
    assert refusal(s3.put_bucket_policy, **(put | {"Policy": "{}"})) == (400, "MalformedPolicy")
    assert s3.get_object(Bucket=bucket, Key="a")["Body"].read() == b"a"
    s3.delete_bucket_policy(Bucket=bucket)


def test_pre_signed_addresses(s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="a b", Body=b"content")
    same: dict[str, Any] = {"Params": {"Bucket": bucket, "Key": "a b"}}
    address = s3.generate_presigned_url("get_object", **same)
    with urllib.request.urlopen(address) as answer:
        assert answer.read() == b"content"
    put = s3.generate_presigned_url("put_object", **same)
    with urllib.request.urlopen(urllib.request.Request(put, b"new", method="PUT")) as answer:
        assert answer.status == 200
    assert s3.get_object(Bucket=bucket, Key="a b")["Body"].read() == b"new"
    expired = s3.generate_presigned_url("get_object", **same, ExpiresIn=0)
    for useless in (expired, address.split("?")[0]):
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(useless)
        assert caught.value.code == 403
        assert b"<Code>AccessDenied</Code>" in caught.value.read()


def test_the_bucket_may_be_in_the_host(cloud: Cloud, s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="models/a", Body=b"content", ChecksumAlgorithm="SHA256")
    signed = (
        "AWS4-HMAC-SHA256 Credential=local/20260101/ap-northeast-2/s3/aws4_request, Signature=0"
    )
    for host in (f"{bucket}.s3.{REGION}.amazonaws.com", f"{bucket}.s3.amazonaws.com"):
        connection = http.client.HTTPConnection("127.0.0.1", cloud.port)
        try:
            headers = {"Host": host, "Authorization": signed}
            connection.request("GET", "/models/a", headers=headers)
            assert connection.getresponse().read() == b"content"
            connection.request("GET", "/?list-type=2&prefix=models/", headers=headers)
            assert b"<Key>models/a</Key>" in connection.getresponse().read()
        finally:
            connection.close()
    assert cloud.calls.read()[-1]["action"] == "ListObjectsV2"


def test_what_is_deleted_leaves_the_disk(cloud: Cloud, s3: Any, bucket: str) -> None:
    folder = cloud.root / "s3" / "objects"
    cloud.objects.sweep()
    before = len(list(folder.iterdir()))
    s3.put_object(Bucket=bucket, Key="a", Body=b"a")
    upload_parts(s3, bucket, "m", [os.urandom(5 * MIB), b"x"])
    assert len(list(folder.iterdir())) == before + 2
    s3.delete_object(Bucket=bucket, Key="a")
    deleted = s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "m"}]})
    assert deleted["Deleted"] == [{"Key": "m"}]
    assert len(list(folder.iterdir())) == before
