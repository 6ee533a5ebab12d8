"""A job's start, stage by stage, by published figures: on a plain AMI, on a baked one. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

MB, GIB, MIB = 1e6, 1024**3, 1024**2
Variant = Literal["plain", "baked, cold", "baked, rate", "baked, FSR"]
VARIANTS: tuple[Variant, ...] = ("plain", "baked, cold", "baked, rate", "baked, FSR")


@dataclass(frozen=True)
class Figure:
    """A published range and who published it; seconds unless the name says otherwise."""

    low: float
    high: float
    source: str


FIGURES: Mapping[str, Figure] = {
    "boot": Figure(
        4.9 + 3.2,
        16.6 + 22.8,
        "to `running` 4.9 s (daemonology.net, EC2 boot time benchmarking, 2021) to 16.6 s "
        "(brevdev/ec2-coldboot-research); from there to the first service 3.2 to 22.8 s (the same)",
    ),
    "GPU machine ready": Figure(
        80,
        120,
        "a GPU machine from its request until it takes containers: 80-120 s (tensorfuse docs, lazy "
        "loading, 2025); what boot leaves of it is driver, container runtime and agent",
    ),
    "pull MB/s": Figure(
        17_000 / 360,
        17_000 / 240,
        "15-20 GB images take 4-6 min, unpacking included: 47-71 MB/s of the unpacked image",
    ),
    "read at start": Figure(
        0.064,
        0.064,
        "share of an image that its container reads while it starts: 6.4 % (Harter et al., "
        "Slacker, FAST 2016); models are read whole",
    ),
    "cold read MB/s": Figure(
        10,
        93,
        "first reads of a volume made from a snapshot: 6-12 MB/s one after the other, 93 MB/s by "
        "eight readers",
    ),
    "volume MiB/s": Figure(
        250, 250, "the gp3 volume's own throughput, as set (EBS user guide: 125-2,000)"
    ),
    "container": Figure(
        0.3, 0.6, "`docker run` of an image that is there; measured on the local cloud's machines"
    ),
    "template": Figure(
        180, 1200, "the template this project replaces says 20 min plain, 3 min baked, unmeasured"
    ),
}


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """What the job needs, and what its machine's volume is. GB are 10^9 bytes."""

    image_gb: float = 17.0
    models_gb: float = 1.85
    snapshot_gib: float = 25.0
    """Data behind the AMI: base system, image and models."""
    rate_mib_s: int = 300
    throughput_mib_s: int = 250


@dataclass(frozen=True)
class Start:
    """Seconds of each stage of one start, in its order."""

    stages: Mapping[str, float]

    @property
    def total(self) -> float:
        return sum(self.stages.values())


def model_start(variant: Variant, sizes: Sizes, *, best: bool) -> Start:
    """One start with every figure at its best or at its worst."""
    low, high = ("low", "high") if best else ("high", "low")

    def lasts(name: str) -> float:
        return float(getattr(FIGURES[name], low))

    def speed(name: str) -> float:
        return float(getattr(FIGURES[name], high)) * MB

    boot = lasts("boot")
    agent = lasts("GPU machine ready") - boot
    needed = sizes.image_gb * 1e9 * FIGURES["read at start"].low + sizes.models_gb * 1e9
    warm = needed / (sizes.throughput_mib_s * MIB)
    stages = {"boot": boot, "agent": agent, "pull": 0.0, "reads": warm}
    if variant == "plain":
        content = (sizes.image_gb + sizes.models_gb) * 1e9
        stages |= {"pull": content / speed("pull MB/s"), "reads": 0.0}  # it is in memory by then
    elif variant == "baked, cold":
        stages["reads"] = max(warm, needed / speed("cold read MB/s"))
    elif variant == "baked, rate":
        # EBS loads the volume from the launch on, whatever is read; what is not there yet is cold.
        left = max(0.0, sizes.snapshot_gib * GIB / (sizes.rate_mib_s * MIB) - boot - agent)
        stages["reads"] = warm + min(left, needed / speed("cold read MB/s"))
    return Start(stages | {"container": lasts("container")})
