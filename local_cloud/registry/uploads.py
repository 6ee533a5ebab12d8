"""Layers on their way in: started, sent in one piece or in several, mounted, finished."""

from __future__ import annotations

from collections.abc import Iterator
from typing import IO

from werkzeug.wrappers import Request, Response

from local_cloud.registry import answers
from local_cloud.registry.answers import OciError
from local_cloud.registry.blobs import CHUNK, DIGEST, DigestMismatchError, Upload
from local_cloud.registry.catalogue import Catalogue
from local_cloud.registry.records import Scope


class Uploads:
    """The part of the distribution protocol below `/v2/NAME/blobs/uploads/`."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue

    def answer(self, request: Request, scope: Scope, name: str, upload_id: str) -> Response:
        if not upload_id:
            if request.method == "POST":
                return self._start(request, scope, name)
            raise OciError("UNSUPPORTED", "The operation is unsupported.", 405)
        upload = self._catalogue.blobs.find_upload(upload_id)
        if upload is None:
            raise OciError("BLOB_UPLOAD_UNKNOWN", "blob upload unknown to registry", 404)
        with upload.lock:
            if request.method == "PATCH":
                _append(request, upload)
                return _accepted(name, upload, 202)
            if request.method == "PUT":
                return self._finish(request, scope, name, upload)
            if request.method == "GET":
                return _accepted(name, upload, 204)
            if request.method == "DELETE":
                self._catalogue.blobs.cancel_upload(upload)
                return answers.answer_empty(204)
        raise OciError("UNSUPPORTED", "The operation is unsupported.", 405)

    def _start(self, request: Request, scope: Scope, name: str) -> Response:
        mount, source = request.args.get("mount"), request.args.get("from")
        if (
            mount
            and source
            and self._catalogue.mount_layer(scope, name, digest=mount, source=source)
        ):
            return _created(name, mount)
        if "digest" in request.args:
            _promised_digest(request)
        upload = self._catalogue.blobs.start_upload()
        if "digest" in request.args:
            return self._finish(request, scope, name, upload)
        return _accepted(name, upload, 202)

    def _finish(self, request: Request, scope: Scope, name: str, upload: Upload) -> Response:
        promised = _promised_digest(request)
        _append(request, upload)
        try:
            digest = self._catalogue.add_layer(scope, name, upload, digest=promised)
        except DigestMismatchError as error:
            message = f"provided digest did not match uploaded content: {error}"
            raise OciError("DIGEST_INVALID", message, 400) from error
        return _created(name, digest)


def _promised_digest(request: Request) -> str:
    promised = request.args.get("digest", "")
    if DIGEST.fullmatch(promised) is None:
        raise OciError("DIGEST_INVALID", f"'{promised}' is not a digest; give one as sha256:…", 400)
    return promised


def _append(request: Request, upload: Upload) -> None:
    wanted = request.headers.get("Content-Range")
    if wanted is not None:
        first = wanted.removeprefix("bytes ").split("/")[0].split("-")[0]
        if not first.isdigit() or int(first) != upload.size:
            raise OciError(
                "BLOB_UPLOAD_INVALID",
                f"The next byte expected is {upload.size}, sent was {wanted}",
                416,
                {"Range": _range(upload)},
            )
    upload.append(_pieces(request.stream))


def _pieces(stream: IO[bytes]) -> Iterator[bytes]:
    while piece := stream.read(CHUNK):
        yield piece


def _range(upload: Upload) -> str:
    return f"0-{max(upload.size - 1, 0)}"


def _accepted(name: str, upload: Upload, status: int) -> Response:
    return answers.answer_empty(
        status,
        {
            "Location": f"/v2/{name}/blobs/uploads/{upload.id}",
            "Range": _range(upload),
            "Docker-Upload-UUID": upload.id,
        },
    )


def _created(name: str, digest: str) -> Response:
    return answers.answer_empty(
        201, {"Location": f"/v2/{name}/blobs/{digest}", "Docker-Content-Digest": digest}
    )
