"""How much an AMI holds, as far as it is known before it is there. Pure."""

from __future__ import annotations

from ami_provider.course import BASE_USED_GIB, GIB, UNPACKED
from ami_provider.properties import Props
from ami_provider.resolved import ResolvedRecipe


def to_sizes(recipe: ResolvedRecipe) -> Props:
    """The output `sizes`, in bytes: `image_bytes` of all images as they lie on the disk,
    `model_bytes`, and `snapshot_bytes`, of both with the base system.

    Unpacked layers and the base system are estimates. `is_whole` is False where nobody has told a
    size (a model on a web server, say), which then counts as 0.
    """
    images, models = recipe.image_bytes * UNPACKED, recipe.model_bytes
    told = [i.size_bytes for i in recipe.images] + [m.size_bytes for m in recipe.models]
    return {
        "image_bytes": round(images),
        "model_bytes": models,
        "snapshot_bytes": round(BASE_USED_GIB * GIB + images + models),
        "is_whole": None not in told,
    }
