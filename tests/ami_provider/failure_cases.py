"""What goes wrong in bakes on real machines: how it is brought about, what its error says."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ami_provider.contents import ContainerImage, Model
from ami_provider.recipe import SystemUpdate
from ami_provider.resolved import ResolvedImage, ResolvedRecipe
from local_cloud.faults import Fault
from local_cloud.model_server import HOST, ModelFault
from local_cloud.push import push_image
from tests.ami_provider.clouds import Bakery, extra

BUCKET = "local-ml-models"
DENIED, SKEWED = "111111111111", "222222222222"
"""Accounts whose registries give no token: one refuses, one does not believe the clock."""

FAULTS = [
    Fault(service="ecr", action="GetAuthorizationToken", fault="error", status=400,
          code="AccessDeniedException", when={"registryIds": [DENIED]},
          message="User: builder is not authorized to perform: ecr:GetAuthorizationToken"),
    Fault(service="ecr", action="GetAuthorizationToken", fault="error", status=403,
          code="InvalidSignatureException", when={"registryIds": [SKEWED]},
          message="Signature expired: 20261124T000000Z is now earlier than 20261124T010000Z"),
]  # fmt: skip
MODEL_FAULTS = [
    ModelFault(kind="not-found", path="gone.pt"),
    ModelFault(kind="forbidden", path="secret.pt"),
    ModelFault(kind="wrong-bytes", path="changed.pt"),
    ModelFault(kind="truncated", path="short.pt"),
    ModelFault(kind="no-length", path="endless.pt"),
]
REGISTRY = "123456789012.dkr.ecr.ap-northeast-2.amazonaws.com"
MIRROR = "al2023-repos-ap-northeast-2-de612dc2.s3.dualstack.ap-northeast-2.amazonaws.com"

Recipe = Callable[[Bakery, str], ResolvedRecipe]


@dataclass(frozen=True, kw_only=True)
class Case:
    """One way to fail. `sabotage` is run on the builder before its first step."""

    recipe: Recipe
    cause: str
    evidence: str
    remedy: str
    sabotage: str = ""


def recipe_of(bakery: Bakery, name: str, **changes: Any) -> ResolvedRecipe:
    """The seed's image without models or update, and a content of its own."""
    given: dict[str, Any] = {
        "models": (),
        "system_update": SystemUpdate(enabled=False),
        "extra_steps": extra(name, "true"),
    }
    return bakery.resolve(**given | changes)


def with_registry_of(account: str) -> Recipe:
    def made(bakery: Bakery, name: str) -> ResolvedRecipe:
        recipe = recipe_of(bakery, name)
        repository = f"{account}.{REGISTRY.partition('.')[2]}/batch-processor"
        image = ResolvedImage(repository=repository, digest=recipe.images[0].digest)
        return recipe.model_copy(update={"images": (image,)})

    return made


def with_image_that_is_deleted_meanwhile(bakery: Bakery, name: str) -> ResolvedRecipe:
    ecr = bakery.aws.ecr
    ecr.create_repository(repositoryName=name)
    endpoint = bakery.cloud.endpoint
    digest = push_image(ecr, endpoint, repository=name, tag="v1", note="gone", mib=0)
    image = ContainerImage(repository=f"{REGISTRY}/{name}", tag="v1")
    recipe = recipe_of(bakery, name, images=(image,))
    ecr.batch_delete_image(repositoryName=name, imageIds=[{"imageDigest": digest}])
    return recipe


def with_web_model(file: str, *, destination: str = "/opt/ml/m.pt", port: str = "") -> Recipe:
    def made(bakery: Bakery, name: str) -> ResolvedRecipe:
        content = name.encode() * 100_000
        (bakery.cloud.models.folder / file).write_bytes(content)
        model = Model(source=f"https://{HOST}{port}/{file}", destination=destination,
                      sha256=hashlib.sha256(content).hexdigest())  # fmt: skip
        return recipe_of(bakery, name, models=(model,))

    return made


def with_object_that_changes(change: Callable[[Any, str], object]) -> Recipe:
    def made(bakery: Bakery, name: str) -> ResolvedRecipe:
        s3, key = bakery.aws.s3, f"{name}/m.pt"
        s3.put_object(Bucket=BUCKET, Key=key, Body=name.encode() * 1000)
        model = Model(source=f"s3://{BUCKET}/{key}", destination="/opt/ml/m.pt")
        recipe = recipe_of(bakery, name, models=(model,))
        change(s3, key)
        return recipe

    return made


def deny(s3: Any, key: str) -> None:
    statement = {"Effect": "Deny", "Principal": "*", "Action": "s3:GetObject",
                 "Resource": f"arn:aws:s3:::{BUCKET}/{key}"}  # fmt: skip
    policy = {"Version": "2012-10-17", "Statement": [statement]}
    s3.put_bucket_policy(Bucket=BUCKET, Policy=json.dumps(policy))


def updating(*hold: str) -> Recipe:
    return lambda bakery, name: recipe_of(bakery, name, system_update=SystemUpdate(hold=hold))


def leave_free(mib: int) -> str:
    """A script that fills the root volume up to this."""
    return (
        f"free=$(stat -f -c '%f * %S' /); "  # With what is reserved for root.
        f"fallocate -l $((free - ({mib} << 20))) /var/filler"
    )


def close(host: str) -> str:
    """A script after which nothing listens where the host was."""
    return f"echo '127.0.0.1 {host}' >>/etc/hosts"


NO_WAY_OUT = "let 443 out"
CASES = {
    "login-denied": Case(
        recipe=with_registry_of(DENIED),
        cause="could not log in to the registry: ECR refuses the builder",
        evidence="ecr:GetAuthorizationToken is denied to this machine's role",
        remedy="AmazonEC2ContainerRegistryReadOnly",
    ),
    "clock-skew": Case(
        recipe=with_registry_of(SKEWED),
        cause="the builder's clock is wrong",
        evidence="Signature expired: 20261124T000000Z",
        remedy="chrony",
    ),
    "registry-unreachable": Case(
        recipe=recipe_of,
        # Docker goes by what it read of that file for five seconds: it has just started, too.
        sabotage=close(REGISTRY) + "\nsystemctl restart docker",
        cause="the builder cannot reach the container registry",
        evidence="connection refused",
        remedy=NO_WAY_OUT,
    ),
    "no-way-out": Case(
        recipe=recipe_of,
        sabotage="iptables -A OUTPUT -p tcp --dport 443 -j REJECT",
        cause="could not log in to the registry: the builder cannot reach the container registry",
        evidence="does not answer (curl exit 7)",
        remedy="internet gateway",
    ),
    "digest-gone": Case(
        recipe=with_image_that_is_deleted_meanwhile,
        cause="the image's digest is not in the repository any more",
        evidence=f"{REGISTRY}/digest-gone@sha256:",
        remedy="lifecycle policy",
    ),
    "pull-fills-disk": Case(
        recipe=recipe_of,
        sabotage=leave_free(22),  # Of which ext4 keeps 16 for itself.
        cause="could not pull the images: the root volume is full",
        evidence="bytes are free",
        remedy="root_volume.size_gib",
    ),
    "gpu-not-detected": Case(
        recipe=recipe_of,
        sabotage="rm -f /dev/nvidia*",
        cause="the machine has a GPU and the system does not find it",
        evidence="nvidia-smi finds no device",
        remedy="al2023-gpu",
    ),
    "no-driver": Case(
        recipe=recipe_of,
        sabotage="rm /usr/bin/nvidia-smi",
        cause="the machine has a GPU and the system does not find it",
        evidence="has no NVIDIA driver",
        remedy="al2023-gpu",
    ),
    "runtime-blind": Case(
        recipe=recipe_of,
        sabotage="rm -f /usr/bin/nvidia-container-* /usr/bin/nvidia-ctk /run/nvidia/bin/*contain*",
        cause="containers do not see the GPU",
        evidence="runtime-blind",
        remedy="hold nvidia* and libnvidia*",
    ),
    "driver-broken": Case(
        recipe=updating("kernel*"),
        cause="could not check the GPU: the NVIDIA driver does not answer",
        evidence="Driver/library version mismatch",
        remedy="hold both (system_update.hold: kernel*, nvidia*)",
    ),
    "kernel-without-driver": Case(
        recipe=updating("nvidia*", "libnvidia*"),
        cause="is refused: could not check the AMI on a machine of its own: the NVIDIA driver",
        evidence="couldn't communicate with the NVIDIA driver",
        remedy="hold both (system_update.hold: kernel*, nvidia*)",
    ),
    "mirror-down": Case(
        recipe=updating("kernel*", "nvidia*", "libnvidia*"),
        sabotage=close(MIRROR),
        cause="could not update the system: the system update could not reach its package mirror",
        evidence="Failed to download metadata",
        remedy=NO_WAY_OUT,
    ),
    "model-missing": Case(
        recipe=with_web_model("gone.pt"),
        cause="could not fetch the models: a model is not at its source",
        evidence=f"/opt/ml/m.pt: https://{HOST}/gone.pt answers 404",
        remedy="models[].source",
    ),
    "model-forbidden": Case(
        recipe=with_web_model("secret.pt"),
        cause="the source of a model refuses the builder",
        evidence=f"https://{HOST}/secret.pt answers 403",
        remedy="the URL must answer without a login",
    ),
    "model-changed-on-the-way": Case(
        recipe=with_web_model("changed.pt"),
        cause="a model has not the SHA-256 that was asked for",
        evidence="SHA-256 is ",
        remedy="models[].sha256",
    ),
    "model-truncated": Case(
        recipe=with_web_model("short.pt"),
        cause="a model's download kept breaking off",
        evidence="broke off 6 times",
        remedy="timeouts.models",
    ),
    "model-unreachable": Case(
        recipe=with_web_model("any.pt", port=":4443"),
        cause="the source of a model does not answer",
        evidence=":4443",
        remedy=NO_WAY_OUT,
    ),
    "model-fills-disk": Case(
        recipe=with_web_model("big.pt", destination="/opt/small/m.pt"),
        sabotage="mkdir -p /opt/small && mount -t tmpfs -o size=1m tmpfs /opt/small",
        cause="could not fetch the models: the root volume is full",
        evidence="more bytes, ",
        remedy="root_volume.size_gib",
    ),
    "model-of-unknown-size-fills-disk": Case(
        recipe=with_web_model("endless.pt", destination="/opt/small/m.pt"),
        sabotage="mkdir -p /opt/small && mount -t tmpfs -o size=1m tmpfs /opt/small",
        cause="could not fetch the models: the root volume is full",
        evidence="writing failed with 0 bytes free",
        remedy="root_volume.size_gib",
    ),
    "object-missing": Case(
        recipe=with_object_that_changes(lambda s3, key: s3.delete_object(Bucket=BUCKET, Key=key)),
        cause="a model is not at its source",
        evidence="answers 404",
        remedy="models[].source",
    ),
    "object-denied": Case(
        recipe=with_object_that_changes(deny),
        cause="the source of a model refuses the builder",
        evidence="answers 403 AccessDenied",
        remedy="s3:GetObject",
    ),
    "object-replaced": Case(
        recipe=with_object_that_changes(
            lambda s3, key: s3.put_object(Bucket=BUCKET, Key=key, Body=b"x" * 15_000)
        ),
        cause="a model's object was replaced in S3 after this recipe was resolved",
        evidence="no longer the object that was resolved",
        remedy="resolves the recipe anew",
    ),
}
