"""Is the root volume large enough for what goes on it? Refuses only what cannot fit. Pure."""

from __future__ import annotations

from ami_provider.resolved import ResolvedRecipe

GIB = 1024**3
BASE_USED_GIB = 6.0
"""What the GPU base AMI fills of its own volume: a low estimate, so that nothing that fits is
refused (driver, container runtime, agent and system; AWS publishes no figure)."""
UNPACKED = 2.0
"""Bytes on disk for one compressed byte of a layer: the low end for gzip layers of Python and
CUDA files (the template's 17 GB image is about 8 GB in ECR)."""
LAYERS_IN_FLIGHT = 3
"""Layers Docker downloads at a time (`max-concurrent-downloads`), kept until they are unpacked."""
FREE_GIB = 1.0
"""Left for the job's own logs and temporary files at the least."""


def find_volume_faults(recipe: ResolvedRecipe) -> list[str]:
    """Reasons why the root volume is too small, each with its sum. Unknown sizes count as 0."""
    size, base = recipe.root_volume.size_gib, recipe.base
    if size < base.size_gib:
        return [
            f"is {size} GiB, but the base AMI {base.ami_id} has a root volume of {base.size_gib} "
            f"GiB and EC2 cannot shrink it. Set at least {base.size_gib}."
        ]
    parts = find_parts(recipe)
    total = sum(parts.values())
    if total <= size:
        return []
    summed = " + ".join(f"{name} {gib:.1f}" for name, gib in parts.items())
    return [
        f"is {size} GiB, but the image needs at least {total:.1f} GiB: {summed}. Set at least "
        f"{int(total) + 1}; some gigabytes more for what jobs write."
    ]


def find_parts(recipe: ResolvedRecipe) -> dict[str, float]:
    """GiB by what needs them; one layer of several images in flight counts once."""
    layers = [size for image in recipe.images for size in image.layer_bytes or ()]
    in_flight = sum(sorted(layers, reverse=True)[:LAYERS_IN_FLIGHT])
    models = sum(model.size_bytes or 0 for model in recipe.models)
    return {
        "base": BASE_USED_GIB,
        "images unpacked": sum(layers) * UNPACKED / GIB,
        "layers in flight": in_flight / GIB,
        "models": models / GIB,
        "free": FREE_GIB,
    }
