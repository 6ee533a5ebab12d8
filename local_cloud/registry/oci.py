"""The distribution protocol as a WSGI application: login, manifests, tags, layers."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from werkzeug.exceptions import HTTPException
from werkzeug.wrappers import Request, Response

from local_cloud.errors import AwsError
from local_cloud.registry import answers
from local_cloud.registry.answers import OciError
from local_cloud.registry.blobs import digest_of
from local_cloud.registry.catalogue import Catalogue
from local_cloud.registry.images import delete_image, find_image, put_image
from local_cloud.registry.records import OCI_INDEX, Image, Scope
from local_cloud.registry.tokens import ExpiredTokenError, InvalidTokenError, Tokens
from local_cloud.registry.uploads import Uploads

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

HOST = re.compile(r"(?P<account>\d{12})\.dkr\.ecr\.(?P<region>[a-z0-9-]+)\.amazonaws\.com(:\d+)?")
ROUTE = re.compile(
    r"/v2/(?P<name>.+?)/(?P<kind>manifests|blobs/uploads|blobs|tags|referrers)"
    r"(?:/(?P<reference>[^/]*))?"
)
#: ECR takes manifests of at most 4 MiB (ECR user guide, "Service quotas").
MANIFEST_LIMIT = 4 * 1024 * 1024
MEDIA_TYPE_ANY = {"*/*", "application/*"}


class App:
    """Answers everything under `/v2/` for the repositories in the catalogue."""

    def __init__(
        self,
        catalogue: Catalogue,
        tokens: Tokens,
        *,
        clock: Callable[[], datetime],
    ) -> None:
        self._catalogue = catalogue
        self._tokens = tokens
        self._clock = clock
        self._uploads = Uploads(catalogue)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        return self.answer(Request(environ))(environ, start_response)

    def answer(self, request: Request) -> Response:
        try:
            return self._route(request)
        except OciError as error:
            return answers.answer_error(error)
        except AwsError as error:
            return answers.answer_error(answers.error_of(error))
        except HTTPException as error:
            return Response(error.get_body(), error.code, error.get_headers(request.environ))

    def _route(self, request: Request) -> Response:
        pre_signed = self._find_pre_signed_layer(request)
        if pre_signed is not None:
            return pre_signed
        scope = self._log_in(request)
        if request.path in ("/v2", "/v2/"):
            return answers.answer_json({})
        found = ROUTE.fullmatch(request.path)
        if found is None:
            raise OciError("UNSUPPORTED", f"No such thing as {request.path}", 404)
        name, kind, reference = found["name"], found["kind"], found["reference"] or ""
        self._catalogue.get(scope, name)
        if kind == "manifests":
            return self._manifest(request, scope, name, reference)
        if kind == "blobs/uploads":
            return self._uploads.answer(request, scope, name, reference)
        if kind == "blobs":
            return self._layer(request, scope, name, reference)
        if kind == "tags" and reference == "list":
            return self._tags(request, scope, name)
        if kind == "referrers":
            return self._referrers(request, scope, name, reference)
        raise OciError("UNSUPPORTED", f"No such thing as {request.path}", 404)

    def _log_in(self, request: Request) -> Scope:
        asked = HOST.fullmatch(request.host)
        login = request.authorization
        if login is None or login.type != "basic" or login.username != "AWS":
            realm = f"{request.scheme}://{request.host}/"
            raise OciError(
                "UNAUTHORIZED",
                "authentication required",
                401,
                {"Www-Authenticate": f'Basic realm="{realm}",service="ecr.amazonaws.com"'},
            )
        try:
            holder = self._tokens.read(login.password or "", now=self._clock())
        except InvalidTokenError:
            raise OciError("DENIED", "Your Authorization Token is invalid.", 400) from None
        except ExpiredTokenError:
            message = "Your authorization token has expired. Reauthenticate and try again."
            raise OciError("DENIED", message, 403) from None
        if asked is None:
            return holder
        scope = Scope(account=asked["account"], region=asked["region"])
        if scope.region != holder.region:
            raise OciError("DENIED", "Your Authorization Token is invalid.", 400)
        if scope.account != holder.account:
            who = f"arn:aws:iam::{holder.account}:root"
            raise OciError(
                "DENIED",
                f"User: {who} is not authorized to perform: ecr:BatchGetImage on resource: "
                f"{scope.arn('*')} because no resource-based policy allows the "
                f"ecr:BatchGetImage action",
                403,
            )
        return scope

    def _find_pre_signed_layer(self, request: Request) -> Response | None:
        token = request.args.get("X-Local-Cloud-Token")
        if token is None or request.method not in ("GET", "HEAD"):
            return None
        try:
            scope, name, digest = self._tokens.read_url(token, now=self._clock())
        except (InvalidTokenError, ExpiredTokenError):
            raise OciError("DENIED", "Request has expired, or was not signed", 403) from None
        if request.path != f"/v2/{name}/blobs/{digest}":
            raise OciError("DENIED", "The signature is for another layer", 403)
        return self._layer(request, scope, name, digest)

    def _manifest(self, request: Request, scope: Scope, name: str, reference: str) -> Response:
        if request.method == "PUT":
            return self._put_manifest(request, scope, name, reference)
        if request.method == "DELETE":
            delete_image(self._catalogue, scope, name, reference)
            return answers.answer_empty(202)
        _only(request, "GET", "HEAD")
        with self._catalogue.lock:
            repository = self._catalogue.get(scope, name)
            image = find_image(repository, reference)
            if image is None:
                raise OciError("MANIFEST_UNKNOWN", "Requested image not found", 404)
            _check_accepts(request, image)
            content = self._catalogue.blobs.read(image.digest)
            if request.method == "GET":
                repository.last_pull[image.digest] = self._clock()
        headers = {**answers.VERSION, "Docker-Content-Digest": image.digest}
        return Response(content, headers=headers, content_type=image.media_type)

    def _put_manifest(self, request: Request, scope: Scope, name: str, reference: str) -> Response:
        request.max_content_length = MANIFEST_LIMIT
        content = request.get_data(cache=False)
        by_digest = reference.startswith("sha256:")
        kind = request.mimetype or None
        if by_digest and digest_of(content) != reference:
            raise OciError(
                "DIGEST_INVALID", "The digest does not match that of the manifest sent", 400
            )
        image, _ = put_image(
            self._catalogue,
            scope,
            name,
            content,
            tag=None if by_digest else reference,
            media_type=kind,
            now=self._clock(),
        )
        headers = {
            "Location": f"/v2/{name}/manifests/{image.digest}",
            "Docker-Content-Digest": image.digest,
        }
        if image.subject:
            headers["OCI-Subject"] = image.subject
        return answers.answer_empty(201, headers)

    def _layer(self, request: Request, scope: Scope, name: str, digest: str) -> Response:
        _only(request, "GET", "HEAD")
        repository = self._catalogue.get(scope, name)
        path = self._catalogue.blobs.find(digest) if digest in repository.layers else None
        if path is None:
            raise OciError("BLOB_UNKNOWN", "Requested layer not found", 404)
        headers = {"Docker-Content-Digest": digest, "Etag": f'"{digest}"'}
        return answers.answer_file(request, path, headers=headers)

    def _tags(self, request: Request, scope: Scope, name: str) -> Response:
        _only(request, "GET")
        limit = request.args.get("n", default=1000, type=int)
        last = request.args.get("last", default="")
        with self._catalogue.lock:
            tags = sorted(self._catalogue.get(scope, name).digest_of_tag)
        left = [tag for tag in tags if tag > last]
        page, more = left[:limit], len(left) > limit
        headers = {}
        if more and page:
            query = urlencode({"last": page[-1], "n": limit})
            headers["Link"] = f'</v2/{name}/tags/list?{query}>; rel="next"'
        return answers.answer_json({"name": name, "tags": page}, headers=headers)

    def _referrers(self, request: Request, scope: Scope, name: str, digest: str) -> Response:
        _only(request, "GET")
        wanted = request.args.get("artifactType")
        with self._catalogue.lock:
            images = [
                image
                for image in self._catalogue.get(scope, name).images.values()
                if image.subject == digest and wanted in (None, image.artifact_media_type)
            ]
        entries = [
            {
                "mediaType": image.media_type,
                "digest": image.digest,
                "size": self._catalogue.blobs.size(image.digest),
                "artifactType": image.artifact_media_type,
            }
            for image in images
        ]
        body = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries}
        headers = {"OCI-Filters-Applied": "artifactType"} if wanted else {}
        return answers.answer_json(body, headers=headers, content_type=OCI_INDEX)


def _check_accepts(request: Request, image: Image) -> None:
    accepted = {value for value, _ in request.accept_mimetypes}
    if accepted and image.media_type not in accepted and not accepted & MEDIA_TYPE_ANY:
        raise OciError(
            "MANIFEST_UNKNOWN",
            f"The image is of type {image.media_type}, which the request does not accept",
            404,
        )


def _only(request: Request, *methods: str) -> None:
    if request.method not in methods:
        raise OciError(
            "UNSUPPORTED", "The operation is unsupported.", 405, {"Allow": ", ".join(methods)}
        )
