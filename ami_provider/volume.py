"""Is the root volume large enough for what goes on it, and not far too large? Pure."""

from __future__ import annotations

from ami_provider.course import BASE_USED_GIB, UNPACKED
from ami_provider.resolved import ResolvedRecipe

GIB = 1024**3
LAYERS_IN_FLIGHT = 3
"""Layers Docker downloads at a time (`max-concurrent-downloads`), kept until they are unpacked."""
SPACIOUS = 2
"""How many times what is needed a volume may be without a remark."""
SPARE_GIB = 20
"""Left for jobs in the size that is proposed instead; a volume with no more to spare is fine."""
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


def find_volume_note(recipe: ResolvedRecipe) -> str | None:
    """A sentence where the root volume is far bigger than it has to be, or None.

    Every machine has it, and EBS bills a volume's whole size. None where sizes are unknown, and
    for the base AMI's own size.
    """
    size, base = recipe.root_volume.size_gib, recipe.base.size_gib
    sizes_known = all(image.layer_bytes for image in recipe.images)
    needed = max(sum(find_parts(recipe).values()), base)
    if not sizes_known or size <= max(SPACIOUS * needed, needed + SPARE_GIB):
        return None
    return (
        f"the root volume is {size} GiB, but about {needed:.0f} GiB hold all that is known: every "
        f"machine pays for the rest, and loading it at a set rate takes longer. "
        f"{int(needed + SPARE_GIB)} GiB leave jobs {SPARE_GIB} GiB."
    )


def find_parts(recipe: ResolvedRecipe) -> dict[str, float]:
    """GiB by what needs them; one layer of several images in flight counts once."""
    layers = [size for image in recipe.images for size in image.layer_bytes or ()]
    in_flight = sum(sorted(layers, reverse=True)[:LAYERS_IN_FLIGHT])
    return {
        "base": BASE_USED_GIB,
        "images unpacked": sum(layers) * UNPACKED / GIB,
        "layers in flight": in_flight / GIB,
        "models": recipe.model_bytes / GIB,
        "free": FREE_GIB,
    }
