"""S3 as its clients meet it: objects' bytes stream from and to disk, moto answers all the rest."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from local_cloud.errors import AwsError
from local_cloud.objects import copies, multipart
from local_cloud.objects.access import Access, check_not_expired
from local_cloud.objects.addresses import check_bucket_name
from local_cloud.objects.bodies import Received, receive
from local_cloud.objects.checksums import checksum_of
from local_cloud.objects.files import ObjectFiles, file_name_of, forget_lost, keys_of
from local_cloud.objects.place import Answer, Place, headers_for, only_shown, set_header
from local_cloud.objects.policy import check_policy
from local_cloud.registry.answers import pieces_of

if TYPE_CHECKING:
    from local_cloud.cloud import Cloud

DELETES = {"DeleteObject", "DeleteObjects", "AbortMultipartUpload", "DeleteBucket"}


class Objects:
    """One cloud's S3 door. Files lie below `folder`; moto holds names, versions, tags, policies."""

    def __init__(self, cloud: Cloud, files: ObjectFiles) -> None:
        self._cloud = cloud
        self.files = files

    def answer(self, request: Any, action: str, *, access_key: str, region: str) -> Answer:
        """Answer one S3 request, its bucket in the path. Raises AwsError."""
        try:
            return self._answer(request, action, access_key, region)
        except AwsError as error:
            if request.method != "HEAD":
                raise
            return error.status, {"Content-Type": "application/xml"}, b""

    def _answer(self, request: Any, action: str, access_key: str, region: str) -> Answer:
        account = self._cloud.account_of(access_key)
        at = Place(self._cloud, request, account=account, region=region)
        check_not_expired(request)
        access = Access(self._cloud, request, access_key, account)
        public = access.anonymous and action in ("GetObject", "HeadObject") and at.is_public()
        if not public:
            access.check(action, at.bucket, at.key, version=request.args.get("versionId"))
        if "x-amz-copy-source" in request.headers:
            source, key, version = copies.source_of(request)
            access.check("GetObject", source, key, version=version)
            if action == "CopyObject":
                return copies.copy(self._cloud, self.files, request, at)
        elif action == "PutObject":
            return self._put(request, at)
        elif action == "UploadPart":
            return self._put_part(request, at)
        elif action in ("GetObject", "HeadObject"):
            return self._get(request, at, access)
        elif action == "CompleteMultipartUpload":
            return self._complete(request, at)
        elif action == "CreateBucket":
            check_bucket_name(at.bucket)
        elif action == "PutBucketPolicy":
            check_policy(request.get_data())
        with self._cloud.moto.lock:
            answer = at.forward(request.headers, request.get_data())
        if action in DELETES:
            self.sweep()
        return answer

    def _put(self, request: Any, at: Place) -> Answer:
        received = receive(self.files, request)
        try:
            with self._cloud.moto.lock:
                status, headers, body = at.forward(headers_for(request, received), b"")
                if status != 200:
                    return status, headers, body
                _attach(self.files, at.get_key(), received)
        finally:
            received.arrived.path.unlink(missing_ok=True)
        return status, _shown(headers, received), body

    def _put_part(self, request: Any, at: Place) -> Answer:
        with self._cloud.moto.lock:
            upload = at.find_upload(request.args["uploadId"])
            if upload is None:
                raise multipart.no_such_upload()
            wanted = upload.metadata.get("x-amz-checksum-algorithm")
        received = receive(self.files, request, also=wanted)
        number = int(request.args["partNumber"])
        try:
            with self._cloud.moto.lock:
                status, headers, body = at.forward(headers_for(request, received), b"")
                if status != 200:
                    return status, headers, body
                _attach(self.files, upload.parts[number], received)
        finally:
            received.arrived.path.unlink(missing_ok=True)
        return status, _shown(headers, received), body

    def _get(self, request: Any, at: Place, access: Access) -> Answer:
        version = request.args.get("versionId")
        with self._cloud.moto.lock:
            key = at.find_key(version)
            name = file_name_of(key)
            if name is None:  # missing, a delete marker, archived, or made inside moto by a copy
                answer = at.forward(request.headers, b"")
                if answer[0] == 404 and access.judge("ListBucket", at.bucket) == "deny":
                    raise AwsError("AccessDenied", "Access Denied", status=403)
                return answer
            path = self.files.path(name)
            # The answer to GET says more than moto's HEAD does, and is the same on AWS.
            with self.files.without_reading():
                status, headers, body = at.forward(_without_range(request), b"", method="GET")
            parts = multipart.part_range(key, request.args.get("partNumber"))
        if status not in (200, 206):
            return status, headers, b"" if request.method == "HEAD" else body
        headers = only_shown(headers)
        status, start, stop = _range(request, key.contentsize, parts)
        set_header(headers, "Content-Length", str(stop - start))
        if parts is not None:
            set_header(headers, "x-amz-mp-parts-count", str(len(key.multipart.partlist)))
        if status == 206:
            set_header(headers, "Content-Range", f"bytes {start}-{stop - 1}/{key.contentsize}")
            headers = {
                k: v for k, v in headers.items() if not k.lower().startswith("x-amz-checksum-")
            }
        if request.method == "HEAD":
            return status, headers, b""
        try:
            return status, headers, pieces_of(path.open("rb"), start, stop)
        except FileNotFoundError:  # deleted just now
            raise AwsError("NoSuchKey", "The specified key does not exist.", status=404) from None

    def _complete(self, request: Any, at: Place) -> Answer:
        """moto would join the parts in memory: they are joined on disk, and it hears the result."""
        body = request.get_data()
        with self._cloud.moto.lock:
            upload = at.find_upload(request.args["uploadId"])
            done = at.find_key()
        if upload is None:
            if (
                getattr(done, "multipart", None) is None
                or done.multipart.id != request.args["uploadId"]
            ):
                raise multipart.no_such_upload()
            return at.forward(request.headers, body)
        parts = multipart.chosen_parts(upload, body)
        path = self.files.join(self._to_disk(part, upload) for part in parts)
        try:
            result = multipart.result_of(upload, parts, path)
            multipart.check_promise(request.headers, result)
            size = sum(part.contentsize for part in parts)
            with self._cloud.moto.lock:
                upload.complete = lambda _: (b"", result.etag, result.as_moto())
                try:
                    status, headers, body = at.forward(request.headers, body)
                finally:
                    del upload.complete
                if status != 200:
                    return status, headers, body
                self.files.attach(at.get_key(), path, size=size, etag=result.etag)
                upload.partlist = [part.name for part in parts]
        finally:
            path.unlink(missing_ok=True)
        self.sweep()
        body = multipart.with_checksum(body, result)
        set_header(headers, "Content-Length", str(len(body)))
        return status, only_shown(headers), body

    def _to_disk(self, key: Any, upload: Any = None) -> Path:
        """The file of a key's content; of one that a copy made in memory, it is written now."""
        with self._cloud.moto.lock:
            name = file_name_of(key)
            if name is None:
                content = key.value
                algorithm = upload.metadata.get("x-amz-checksum-algorithm") if upload else None
                if algorithm:
                    key.checksum_value = checksum_of(algorithm, content)
                arrived = self.files.receive([content])
                self.files.attach(key, arrived.path, size=arrived.size, etag=key.etag.strip('"'))
                name = arrived.path.name
            return self.files.path(name)

    def sweep(self) -> None:
        """Remove the files of objects that are no more."""
        with self._cloud.moto.lock:
            used: set[str] = set()
            for backend in self._backends():
                used.update(name for key in keys_of(backend) if (name := file_name_of(key)))
            self.files.sweep(used)

    def forget_lost(self) -> None:
        """After loading a saved state: drop what was deleted after it was saved, and sweep.

        moto also keeps each bucket's owner in a place of its own, which a saved state lacks.
        """
        from moto.s3.models import s3_backends

        with self._cloud.moto.lock:
            for backend in self._backends():
                forget_lost(backend)
                for name in backend.buckets:
                    s3_backends.bucket_accounts[name] = (backend.partition, backend.account_id)
        self.sweep()

    def _backends(self) -> Iterator[Any]:
        for (service, _, _), backend in self._cloud.moto.dump().items():
            if service == "s3":
                yield backend


def _without_range(request: Any) -> dict[str, str]:
    return {name: value for name, value in request.headers.items() if name.lower() != "range"}


def _attach(files: ObjectFiles, key: Any, received: Received) -> None:
    arrived = received.arrived
    files.attach(key, arrived.path, size=arrived.size, etag=arrived.md5.hex())
    key.checksum_algorithm = received.algorithm
    key.checksum_value = received.checksum
    key.checksum_type = "FULL_OBJECT" if received.checksum else None


def _shown(headers: dict[str, str], received: Received) -> dict[str, str]:
    headers = only_shown(headers)
    set_header(headers, "ETag", f'"{received.arrived.md5.hex()}"')
    if received.algorithm and received.checksum:
        set_header(headers, f"x-amz-checksum-{received.algorithm.lower()}", received.checksum)
        set_header(headers, "x-amz-checksum-type", "FULL_OBJECT")
    return headers


def _range(request: Any, size: int, parts: tuple[int, int] | None) -> tuple[int, int, int]:
    """Status, first byte and the one after the last. Raises AwsError InvalidRange (416)."""
    if parts is not None:
        return 206, *parts
    wanted = request.range
    if wanted is None or wanted.units != "bytes" or len(wanted.ranges) != 1:
        return 200, 0, size
    found = wanted.range_for_length(size)
    if found is None:
        raise AwsError("InvalidRange", "The requested range is not satisfiable", status=416)
    return 206, found[0], found[1]
