"""A recipe as the files that the steps on the machine read. Pure."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from urllib.parse import quote, urlencode

from ami_provider.contents import REPOSITORY
from ami_provider.resolved import ResolvedImage, ResolvedModel, ResolvedRecipe
from ami_provider.site import BuildSite


def list_files(
    recipe: ResolvedRecipe,
    *,
    region: str,
    fingerprint: str,
    gpu: bool,
    start: str | None = None,
) -> dict[str, bytes]:
    """Name -> content. Nothing in them is secret; none of them is ever on the machine's disk.

    `start` is the earlier AMI that the machine was booted from, where it was.
    """
    settings = {
        "FINGERPRINT": fingerprint,
        "EXPECT_GPU": "yes" if gpu else "no",
        "SYSTEM_UPDATE": "yes" if recipe.system_update.enabled else "no",
        "HELD_PACKAGES": " ".join(recipe.system_update.hold),
        "ECR_LOGINS": "\n".join(list_logins(recipe.images)),
    }
    if start:
        settings["START"] = start
    texts = {
        "parameters": _to_shell(settings),
        "images.tsv": "".join(f"{_image_line(image)}\n" for image in recipe.images),
        "models.tsv": "".join(f"{_model_line(model, region)}\n" for model in recipe.models),
        "agent.config": "".join(f"{k}={v}\n" for k, v in get_agent_config(recipe).items()),
        "recipe.json": json.dumps(recipe.manifest(), indent=2, sort_keys=True) + "\n",
    }
    return {name: text.encode() for name, text in texts.items()}


def render_site(site: BuildSite, *, folder: str) -> bytes:
    """What a machine is told beside the recipe; `folder` is where below `logs` its logs go."""
    settings = {"SMOKE_COMMAND": site.smoke_command or ""}
    if site.logs:
        settings |= {"LOG_DESTINATION": site.logs, "LOG_REGION": site.region, "LOG_FOLDER": folder}
    return _to_shell(settings).encode()


def _to_shell(settings: Mapping[str, str]) -> str:
    return "".join(f"{name}={shlex.quote(value)}\n" for name, value in settings.items())


def list_logins(images: tuple[ResolvedImage, ...]) -> list[str]:
    """`registry-host api-host region` for each ECR registry, once."""
    logins = []
    for image in images:
        host = image.repository.partition("/")[0]
        found = REPOSITORY.fullmatch(image.repository)
        if found:
            region = found["region"]
            suffix = "amazonaws.com.cn" if host.endswith(".cn") else "amazonaws.com"
            logins.append(f"{host} api.ecr.{region}.{suffix} {region}")
    return list(dict.fromkeys(logins))


def get_agent_config(recipe: ResolvedRecipe) -> dict[str, str]:
    """The lines of /etc/ecs/ecs.config, by name."""
    agent = recipe.agent
    return {
        "ECS_ENABLE_GPU_SUPPORT": "true" if agent.gpu_support else "false",
        "ECS_IMAGE_PULL_BEHAVIOR": agent.image_pull_behavior,
        "ECS_ENABLE_SPOT_INSTANCE_DRAINING": "true" if agent.spot_draining else "false",
        "ECS_CONTAINER_START_TIMEOUT": f"{agent.start_timeout_s}s",
        **agent.extra,
    }


def _image_line(image: ResolvedImage) -> str:
    return f"{image.uri}\t{f'{image.repository}:{image.tag}' if image.tag else '-'}"


def _model_line(model: ResolvedModel, region: str) -> str:
    is_s3 = model.source.startswith("s3://")
    fields = [
        "s3" if is_s3 else "http",
        get_s3_url(model, region) if is_s3 else model.source,
        model.destination,
        model.sha256 or "-",
        "-" if model.size_bytes is None else str(model.size_bytes),
        (model.etag or "-").strip('"') if is_s3 else "-",
        region if is_s3 else "-",
    ]
    return "\t".join(fields)


def get_s3_url(model: ResolvedModel, region: str) -> str:
    """The object's address with its version, in the form that a certificate covers."""
    bucket, _, key = model.source.removeprefix("s3://").partition("/")
    host = f"s3.{region}.amazonaws.com" + (".cn" if region.startswith("cn-") else "")
    path = quote(key, safe="/-_.~")
    # A wildcard certificate covers one label: a bucket with dots goes into the path.
    url = f"https://{host}/{bucket}/{path}" if "." in bucket else f"https://{bucket}.{host}/{path}"
    return f"{url}?{urlencode({'versionId': model.version_id})}" if model.version_id else url
