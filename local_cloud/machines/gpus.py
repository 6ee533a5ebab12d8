"""The GPUs that machine types have, as `nvidia-smi` shows them."""

from __future__ import annotations

from dataclasses import dataclass

from local_cloud.machines.anchor import HERE


@dataclass(frozen=True)
class GpuModel:
    """What the driver says of a GPU, in the words and units of NVIDIA's own tool."""

    name: str
    memory_mib: int
    capability: str


#: By the family of the machine type: EC2's pages of accelerated computing instances name the GPUs.
_MODELS = {
    "g4dn": GpuModel("Tesla T4", 15360, "7.5"),
    "g5": GpuModel("NVIDIA A10G", 23028, "8.6"),
    "g6": GpuModel("NVIDIA L4", 23034, "8.9"),
    "g6e": GpuModel("NVIDIA L40S", 46068, "8.9"),
    "p3": GpuModel("Tesla V100-SXM2-16GB", 16384, "7.0"),
    "p4d": GpuModel("NVIDIA A100-SXM4-40GB", 40960, "8.0"),
    "p5": GpuModel("NVIDIA H100 80GB HBM3", 81559, "9.0"),
}
_CUDA = "13.0"


def gpu_of(instance_type: str) -> GpuModel:
    """The GPU of a machine type; of a family that is not listed, the one of g5."""
    return _MODELS.get(instance_type.partition(".")[0], _MODELS["g5"])


def text_of(instance_type: str) -> str:
    """The commands for sed that put the GPU's words into the driver's tools."""
    gpu = gpu_of(instance_type)
    words = {
        "MODEL": gpu.name,
        "MEMORY": str(gpu.memory_mib),
        "CAPABILITY": gpu.capability,
        "CUDA": _CUDA,
        "DRIVER": driver_version(),
    }
    return ";".join(f"s|@{name}@|{value}|g" for name, value in words.items())


def driver_version() -> str:
    """Of the driver on the base AMIs."""
    for line in (HERE / "base" / "files" / "gpu.packages").read_text().splitlines():
        name, version, *_ = line.split("\t")
        if name == "nvidia-driver":
            return version
    raise LookupError("gpu.packages names no nvidia-driver")
