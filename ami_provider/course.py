"""The course of a bake: its stages in order, and about how long each takes. Pure.

Every expected second comes from here: beside a stage in `pulumi up`, for waits, in the forecast.
"""

from __future__ import annotations

from dataclasses import dataclass

from ami_provider.recipe import ExtraStep
from ami_provider.resolved import ResolvedRecipe
from ami_provider.site import BuildSite

UNPACKED = 2.0
"""Bytes on disk for one compressed byte of a layer: the low end for gzip layers of Python and
CUDA files (the template's 17 GB image is about 8 GB in ECR)."""
BASE_USED_GIB = 6.0
"""What the GPU base AMI fills of its own volume: a low estimate, so that nothing that fits is
refused (driver, container runtime, agent and system; AWS publishes no figure)."""

HIGHEST_RATE = 300
"""MiB/s, the most that one volume may ask for (EBS: 100-300)."""
RATE_FROM_GIB = 8
COLD_BYTES_S = 93e6
"""First reads of a volume from a snapshot, by eight readers (measured by others)."""
MIB, GIB = 1024**2, 1024**3


@dataclass(frozen=True)
class Step:
    """One script on the machine. `limit` names its time-out in the site."""

    name: str
    what: str
    limit: str = "step"


QUIET_AGENT = Step("10-quiet-agent", "keep the ECS agent quiet")
UPDATE = Step("20-system-update", "update the system", "update")
LOGIN = Step("30-registry-login", "log in to the registry")
FORMER = Step("35-remove-former", "remove what is gone")
AGENT = Step("36-agent-settings", "configure the ECS agent")
PULL = Step("40-pull-images", "pull the images", "pull")
MODELS = Step("45-fetch-models", "fetch the models", "models")
GPU = Step("70-gpu-check", "check the GPU")
MANIFEST = Step("80-manifest", "write the manifest")
CLEANUP = Step("90-cleanup", "clean up")
QUIESCE = Step("95-quiesce", "quiesce", "image")
VERIFY = Step("verify", "check the AMI on a machine of its own", "verify")


@dataclass(frozen=True)
class Stage:
    """One line of a bake. `key` is its short name in tags.

    `chains` run beside each other on the machine, each one command; the steps of a chain run one
    after the other. All extra steps share the key `60`.
    """

    key: str
    what: str
    chains: tuple[tuple[Step, ...], ...] = ()

    @property
    def steps(self) -> tuple[Step, ...]:
        """All of them, chain by chain."""
        return tuple(step for chain in self.chains for step in chain)


LAUNCH = Stage("launch", "launch a builder")
PREPARE = "20"
FETCH = "40"
FINISH = "90"
IMAGE = Stage("image", "create the AMI")
LAUNCH_VERIFIER = Stage("relaunch", "launch a machine from the AMI")
BOOT = Stage("boot", "boot it")
CHECK = Stage("verify", VERIFY.what, ((VERIFY,),))
EXTRA = "60"
NAMES = {
    LAUNCH.key: LAUNCH.what,
    PREPARE: "prepare and update the system",
    FETCH: "pull the images and fetch the models",
    EXTRA: "run the extra steps",
    FINISH: "check the GPU, write the manifest and clean up",
    IMAGE.key: IMAGE.what,
    LAUNCH_VERIFIER.key: LAUNCH_VERIFIER.what,
    BOOT.key: BOOT.what,
    CHECK.key: CHECK.what,
}
"""What a stage is called by its key, for a reader of an AMI's tags."""


def list_builder_stages(recipe: ResolvedRecipe, *, incremental: bool = False) -> list[Stage]:
    """The builder's stages of steps, in order.

    What is quick goes into one stage with its neighbours: each command costs two calls of SSM and a
    second or two. An extra step has one of its own, as nobody knows how long it takes.
    """
    update = recipe.system_update.enabled
    former = (FORMER,) if incremental else ()
    extra = [
        Step(get_extra_name(number, step), f"run the extra step {step.name}")
        for number, step in enumerate(recipe.extra_steps, 1)
    ]
    models = ((MODELS,),) if recipe.models else ()
    return [
        Stage(
            PREPARE,
            NAMES[PREPARE] if update else "prepare the system",
            ((QUIET_AGENT, UPDATE, LOGIN, *former, AGENT),),
        ),
        Stage(FETCH, NAMES[FETCH] if models else PULL.what, ((PULL,), *models)),
        *(Stage(EXTRA, step.what, ((step,),)) for step in extra),
        Stage(FINISH, NAMES[FINISH], ((GPU, MANIFEST, CLEANUP, QUIESCE),)),
    ]


def get_extra_name(number: int, step: ExtraStep) -> str:
    """The script's name on the machine: it runs after the agent's settings, before the checks."""
    return f"{EXTRA}-{number:02}-{step.name}"


def list_stages(recipe: ResolvedRecipe, *, verify: bool) -> tuple[Stage, ...]:
    """Every stage of a whole bake, in order; an incremental one goes through the same."""
    checked = (LAUNCH_VERIFIER, BOOT, CHECK) if verify else ()
    return (LAUNCH, *list_builder_stages(recipe), IMAGE, *checked)


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """What the stages' times depend on, in bytes; what is not known counts as 0.

    `images` is what a pull downloads, compressed. `rate` is the MiB/s at which EBS loads the
    verifier's volume, 0 without one.
    """

    images: float
    models: float
    update: bool = True
    rate: int = 0

    @property
    def content(self) -> float:
        """Bytes that the bake adds to the disk."""
        return self.images * UNPACKED + self.models


def get_sizes(recipe: ResolvedRecipe, site: BuildSite) -> Sizes:
    return Sizes(
        images=recipe.image_bytes,
        models=recipe.model_bytes,
        update=recipe.system_update.enabled,
        rate=choose_rate(recipe, site) or 0,
    )


def choose_rate(recipe: ResolvedRecipe, site: BuildSite) -> int | None:
    """MiB/s at which the verifier's volume is loaded from the new snapshot; None as EBS pleases.

    Verification reads all that was baked. EBS gives it cold at about 93 MB/s to many readers (as
    measured by others), and charges about $0.0036 a GiB for a rate: `auto` asks for the highest
    from `RATE_FROM_GIB` on, where it saves minutes.
    """
    wanted = site.volume_initialization_rate
    if wanted == "off":
        return None
    if wanted != "auto":
        return wanted
    content = recipe.image_bytes * UNPACKED + recipe.model_bytes
    return HIGHEST_RATE if content >= RATE_FROM_GIB * GIB else None


FIGURES = {
    "launch": 35.0,
    PREPARE: 95.0,
    FINISH: 22.0,
    "relaunch": 10.0,
    "boot": 25.0,
}
"""Seconds of the stages that depend on no size. `launch`, and `relaunch` with `boot`: RunInstances
answers after 1.5 s, `running` comes after 5-17 s, the agent 3-23 s later (daemonology.net, EC2 boot
time benchmarking, 2021; brevdev/ec2-coldboot-research), and a wait ends a little late. `20`: 90 of
it are a month's updates without kernel and driver, a guess. The rest and `90` are what the steps
take on machines of the local cloud, with what a command by SSM costs."""
PREPARED_S = 5.0
"""Of `PREPARE`, without the update."""


def expect(key: str, sizes: Sizes) -> float | None:
    """About how many seconds a stage takes; None for extra steps, which nobody can know.

    Pull: 15-20 GB of unpacked image took 4-6 min (60 MB/s); models: 100 MB/s, of 8 connections.
    Image: 43 s for a small AMI (measured by others) and 150 MB/s of what is in it, which the 17 GB
    image of the old template gave. Verify: everything that was baked is read once, at the volume's
    rate or cold.
    """
    if key == PREPARE and not sizes.update:
        return PREPARED_S
    if key == FETCH:
        return max(5 + sizes.images * UNPACKED / 60e6, 2 + sizes.models / 100e6)
    if key == "image":
        return 43 + sizes.content / 150e6
    if key == "verify":
        return 20 + sizes.content / (sizes.rate * MIB if sizes.rate else COLD_BYTES_S)
    return FIGURES.get(key)
