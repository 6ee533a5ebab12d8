"""What a failed step means: exit status and log to cause and remedy, in one table. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

MARK = re.compile(r"^baked-ami-failure: ([a-z-]+): (.*)$", re.MULTILINE)


@dataclass(frozen=True)
class Failure:
    """A failure that is known: the kind a step gives it, or the log it leaves, and what to tell."""

    kind: str
    cause: str
    remedy: str
    log: str | None = None


_GROUP = (
    "that the security group and the route table (internet gateway, NAT or endpoints) let 443 out"
)

FAILURES: tuple[Failure, ...] = (
    Failure(
        "disk-full",
        "the root volume is full",
        "Give the recipe a bigger root volume (root_volume.size_gib): base AMI, uncompressed "
        "images, the layers being unpacked and the models must fit at once.",
        r"[Nn]o space left on device|Disk quota exceeded",
    ),
    Failure(
        "token-expired",
        "the ECR token has expired",
        "Run `pulumi up` again: it continues on the same builder and logs in anew.",
        r"authorization token has expired",
    ),
    Failure(
        "ecr-denied",
        "ECR refuses the builder",
        "Give the builder's role AmazonEC2ContainerRegistryReadOnly (ecr:GetAuthorizationToken, "
        "ecr:BatchGetImage, ecr:GetDownloadUrlForLayer, ecr:BatchCheckLayerAvailability), and for "
        "a repository of another account its repository policy too.",
        r"no basic auth credentials|pull access denied|denied: .*not authorized",
    ),
    Failure(
        "digest-gone",
        "the image's digest is not in the repository any more",
        "It was deleted, or a lifecycle policy expired it. Push the image again, or point the "
        "recipe at a tag or digest that is there.",
        r"manifest unknown|manifest for .* not found",
    ),
    Failure(
        "registry-unreachable",
        "the builder cannot reach the container registry",
        f"Check {_GROUP}, and that the VPC resolves names (or has endpoints for ecr.api, ecr.dkr "
        "and s3).",
        r"Get \"https://[^\"]*dkr\.ecr[^\"]*\".*(timeout|no such host|connection refused)",
    ),
    Failure("pull", "an image could not be pulled", "Read the log; run `pulumi up` to try again."),
    Failure(
        "docker-down",
        "the Docker engine does not run",
        "If the system update changed Docker, hold it (system_update.hold: docker*); otherwise "
        "look at `journalctl -u docker` on a builder kept with on_failure: keep.",
        r"Cannot connect to the Docker daemon",
    ),
    Failure(
        "model-missing",
        "a model is not at its source",
        "Put the file back, or correct models[].source.",
    ),
    Failure(
        "model-denied",
        "the source of a model refuses the builder",
        "For S3: give the builder's role s3:GetObject (and s3:GetObjectVersion) on the object, and "
        "kms:Decrypt if it is encrypted with your key. For a web server: the URL must answer "
        "without a login.",
    ),
    Failure(
        "model-checksum",
        "a model has not the SHA-256 that was asked for",
        "The file at the source is another one, or was changed on the way. If it is meant, correct "
        "models[].sha256; if not, find out who changed it.",
    ),
    Failure(
        "model-changed",
        "a model's object was replaced in S3 after this recipe was resolved",
        "Run `pulumi up` again: it resolves the recipe anew.",
    ),
    Failure(
        "model-truncated",
        "a model's download kept breaking off",
        "The source closes the connection early. Try again; for a slow source raise "
        "timeouts.models.",
    ),
    Failure(
        "model-unreachable",
        "the source of a model does not answer",
        f"Check the URL, {_GROUP}.",
        r"curl: \((6|7|28)\)",
    ),
    Failure(
        "package-mirror",
        "the system update could not reach its package mirror",
        f"Check {_GROUP} and S3 (Amazon Linux's mirrors are there); or turn system_update off.",
        r"Cannot find a valid baseurl|Failed to download metadata|All mirrors were tried",
    ),
    Failure(
        "package-conflict",
        "the system update does not fit what is held back",
        "A package wants a newer one that system_update.hold keeps (kernel and NVIDIA by default). "
        "Hold that package too, take a newer base AMI, or turn system_update off.",
    ),
    Failure(
        "package-signature",
        "the system update got a package with a wrong signature",
        "A mirror or proxy changes packages, or the base AMI lacks a repository's key. Use an "
        "unchanged base AMI; look at the repositories in its /etc/yum.repos.d.",
    ),
    Failure(
        "package-lock",
        "another package manager runs on the builder and does not end",
        "Something on the base AMI updates at boot (a user's service, dnf-automatic). Turn it off "
        "there, or turn system_update off.",
    ),
    Failure(
        "system-update",
        "the system update failed",
        "The log has the package manager's own words. A newer base AMI often helps; or hold the "
        "package (system_update.hold), or turn system_update off.",
    ),
    Failure(
        "clock-skew",
        "the builder's clock is wrong, so AWS refuses its signatures",
        "Check chrony on the base AMI (169.254.169.123 must be reachable). A new builder often "
        "helps: run `pulumi up` again.",
        r"RequestTimeTooSkewed|SignatureDoesNotMatch: Signature (expired|not yet current)",
    ),
    Failure(
        "no-role",
        "the builder has no credentials",
        "site.instance_profile must name a profile with a role in it; its trust policy must name "
        "ec2.amazonaws.com.",
    ),
    Failure(
        "metadata",
        "the machine's metadata service does not answer",
        "Something on the base AMI blocks 169.254.169.254 (a firewall rule, a proxy setting).",
    ),
    Failure(
        "gpu-missing",
        "the machine has a GPU and the system does not find it",
        "Use a base AMI with the NVIDIA driver (al2023-gpu), and a machine type that it supports "
        "(not p3, g3 or Graviton with AL2023).",
    ),
    Failure(
        "driver-broken",
        "the NVIDIA driver does not answer",
        "A kernel or driver update breaks the pair: hold both (system_update.hold: kernel*, "
        "nvidia*), or turn system_update off.",
        r"NVIDIA-SMI has failed|Driver/library version mismatch",
    ),
    Failure(
        "runtime-blind",
        "containers do not see the GPU",
        "The base AMI has no NVIDIA container toolkit, or its configuration is broken: use "
        "al2023-gpu, and hold nvidia* and libnvidia* in the system update.",
        r"could not select device driver .*gpu|nvidia-container-cli: ",
    ),
    Failure(
        "agent-running",
        "the ECS agent cannot be kept off the builder",
        "Every copy would register as the same machine. Use an unchanged ECS base AMI.",
    ),
    Failure(
        "timeout",
        "the step did not end within its time",
        "Raise the stage's time-out (site.timeouts), or look at what it waits for: on_failure: "
        "keep leaves the builder for a look.",
        r"baked-ami-timeout: ",
    ),
    Failure(
        "image-missing",
        "an image of the recipe is not on the AMI",
        "An extra step may have removed it. Correct the step and run `pulumi up` again.",
    ),
    Failure(
        "image-broken",
        "the bytes of an image on the AMI are not those that were pulled",
        "The snapshot was taken while they were written, or an extra step changed them. Run "
        "`pulumi up` again.",
    ),
    Failure(
        "agent-settings",
        "the ECS agent's settings on the AMI are not the recipe's",
        "An extra step may have changed /etc/ecs/ecs.config. Use agent.extra for settings.",
    ),
    Failure(
        "former-left",
        "the AMI holds something that is not the recipe's, left by an earlier one",
        "Where this ends an incremental bake, a full one follows by itself.",
    ),
    Failure(
        "agent-identity",
        "the AMI carries an ECS agent's identity",
        "Every copy would register as the same machine. Remove what starts the agent or names a "
        "cluster in an extra step or in the base AMI.",
    ),
    Failure(
        "timer-baked-in",
        "the AMI carries a builder's timer",
        "Every copy would switch itself off. Remove what an extra step put into systemd or cron.",
    ),
    Failure(
        "secret",
        "the AMI holds something that looks like a credential or a leftover of the builder",
        "Remove it in the extra step that leaves it, or fetch it at run time with the job's role.",
    ),
    Failure(
        "manifest-missing",
        "the AMI has no manifest, or that of another recipe",
        "The AMI was not baked to its end. Run `pulumi up` again.",
    ),
    Failure(
        "smoke-command",
        "the smoke command failed in the container",
        "Try it with `docker run` on the image; the image or the models do not work as baked.",
    ),
)

BY_KIND = {failure.kind: failure for failure in FAILURES}


@dataclass(frozen=True)
class Diagnosis:
    """A recognised failure and the evidence for it: the step's own line, or the log's."""

    failure: Failure
    evidence: str


def find_failure(log: str) -> Diagnosis | None:
    """What the log of a failed step says: the last failure a step named itself, else by pattern."""
    named = [(BY_KIND[kind], text) for kind, text in MARK.findall(log) if kind in BY_KIND]
    if named:
        return Diagnosis(*named[-1])
    for failure in FAILURES:
        match = failure.log and re.search(f"^.*(?:{failure.log}).*$", log, re.MULTILINE)
        if match:
            return Diagnosis(failure, match.group(0).strip())
    return None
