"""ECR's layers through the API: what is there, uploads in parts, download addresses."""

from __future__ import annotations

from datetime import timedelta
from urllib.parse import quote

from local_cloud.call import Call, Params, handles
from local_cloud.errors import AwsError
from local_cloud.registry.blobs import DIGEST, Upload
from local_cloud.services.ecr import registry_of

#: What ECR tells clients to send at once, the least it takes but for the last part, and how long a
#: download address is good for (API reference: InitiateLayerUpload, CompleteLayerUpload,
#: GetDownloadUrlForLayer).
PART_BYTES = 20 * 1024 * 1024
LEAST_PART_BYTES = 5 * 1024 * 1024
URL_LIFETIME = timedelta(hours=1)


@handles("ecr", "BatchCheckLayerAvailability")
def batch_check_layer_availability(call: Call) -> Params:
    registry, scope = registry_of(call)
    found: list[Params] = []
    failures: list[Params] = []
    with registry.catalogue.lock:
        repository = registry.catalogue.get(scope, call.params["repositoryName"])
        for digest in call.params["layerDigests"]:
            if DIGEST.fullmatch(digest) is None:
                reason = "Invalid layer digest: it should be 'sha256:' and 64 hex digits"
                failures.append(
                    {
                        "layerDigest": digest,
                        "failureCode": "InvalidLayerDigest",
                        "failureReason": reason,
                    }
                )
                continue
            layer: Params = {"layerDigest": digest, "layerAvailability": "UNAVAILABLE"}
            if digest in repository.layers:
                layer["layerAvailability"] = "AVAILABLE"
                layer["layerSize"] = registry.blobs.size(digest)
            found.append(layer)
    return {"layers": found, "failures": failures}


@handles("ecr", "GetDownloadUrlForLayer")
def get_download_url_for_layer(call: Call) -> Params:
    registry, scope = registry_of(call)
    name, digest = call.params["repositoryName"], call.params["layerDigest"]
    if digest not in registry.catalogue.get(scope, name).layers:
        raise AwsError(
            "LayersNotFoundException",
            f"Layers with digests '[{digest}]' do not exist in the repository with name '{name}' "
            f"in the registry with id '{scope.account}'",
        )
    signed = registry.tokens.sign_url(scope, name, digest, registry.clock() + URL_LIFETIME)
    base = call.cloud.endpoint
    if call.host.endswith(".amazonaws.com"):
        base = f"https://{scope.host}"
    url = f"{base}/v2/{name}/blobs/{digest}?X-Local-Cloud-Token={quote(signed)}"
    return {"downloadUrl": url, "layerDigest": digest}


@handles("ecr", "InitiateLayerUpload")
def initiate_layer_upload(call: Call) -> Params:
    registry, scope = registry_of(call)
    registry.catalogue.get(scope, call.params["repositoryName"])
    return {"uploadId": registry.blobs.start_upload().id, "partSize": PART_BYTES}


@handles("ecr", "UploadLayerPart")
def upload_layer_part(call: Call) -> Params:
    upload = _upload_of(call)
    params = call.params
    content: bytes = params["layerPartBlob"]
    first, last = params["partFirstByte"], params["partLastByte"]
    with upload.lock:
        if first != upload.size or last != first + len(content) - 1:
            raise AwsError(
                "InvalidLayerPartException",
                f"The layer part's bytes {first}-{last} ({len(content)} were sent) do not follow "
                f"the last valid byte received, {upload.size - 1}",
            )
        upload.append([content])
    return {**_named(call), "uploadId": upload.id, "lastByteReceived": last}


@handles("ecr", "CompleteLayerUpload")
def complete_layer_upload(call: Call) -> Params:
    registry, scope = registry_of(call)
    upload = _upload_of(call)
    name, promised = call.params["repositoryName"], call.params["layerDigests"]
    with upload.lock, registry.catalogue.lock:
        repository = registry.catalogue.get(scope, name)
        if upload.size == 0:
            raise AwsError("EmptyUploadException", "The layer upload has no parts")
        if any(part < LEAST_PART_BYTES for part in upload.parts[:-1]):
            raise AwsError(
                "LayerPartTooSmallException", "Layer parts must be at least 5 MiB in size"
            )
        if upload.digest not in promised:
            raise AwsError(
                "InvalidLayerException",
                f"Layer digest '{upload.digest}' of the bytes received is none of "
                f"{', '.join(promised)}",
            )
        if upload.digest in repository.layers:
            registry.blobs.cancel_upload(upload)
            raise AwsError(
                "LayerAlreadyExistsException",
                f"Layer with digest '{upload.digest}' already exists in the repository with name "
                f"'{name}' in registry with id '{scope.account}'",
            )
        digest = registry.catalogue.add_layer(scope, name, upload, digest=None)
    return {**_named(call), "uploadId": upload.id, "layerDigest": digest}


def _upload_of(call: Call) -> Upload:
    registry, scope = registry_of(call)
    name = call.params["repositoryName"]
    registry.catalogue.get(scope, name)
    upload = registry.blobs.find_upload(call.params["uploadId"])
    if upload is None:
        raise AwsError(
            "UploadNotFoundException",
            f"Upload with id '{call.params['uploadId']}' could not be found for the repository "
            f"with name '{name}' in the registry with id '{scope.account}'",
        )
    return upload


def _named(call: Call) -> Params:
    return {"registryId": call.account, "repositoryName": call.params["repositoryName"]}
