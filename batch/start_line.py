"""One line of `pulumi preview` and `pulumi up`: how long a job takes to start, with and without."""

from __future__ import annotations

import pulumi

from batch.args import AmiContent, GpuBatchArgs
from batch.machines import get_volume_rate
from batch.starts import GIB, Sizes, Variant, model_start


def tell_start(args: GpuBatchArgs, about: pulumi.Resource) -> None:
    """Log it beside a resource, once the AMI's content is known; nothing where it is not given."""

    def tell(known: list[AmiContent | None]) -> None:
        for content in filter(None, known):
            pulumi.log.info(describe_start(args, content), about)

    pulumi.Output.all(args.ami_content).apply(tell)


def describe_start(args: GpuBatchArgs, content: AmiContent) -> str:
    """The line, for machines as these arguments have them; the model is `batch.starts`."""
    rate = get_volume_rate(args)
    sizes = Sizes(
        image_gb=content.image_bytes / 1e9,
        models_gb=content.model_bytes / 1e9,
        snapshot_gib=content.snapshot_bytes / GIB,
        rate_mib_s=rate or 0,
        throughput_mib_s=args.volume_throughput,
    )
    baked: Variant = "baked, rate" if rate else "baked, cold"
    if args.fast_snapshot_restore_zones:
        baked = "baked, FSR"
    about = "about" if content.is_whole else "at least"
    return (
        f"a job on a new machine starts in {about} {_range(baked, sizes)} from this AMI, "
        f"{_range('plain', sizes)} on the plain base AMI (by published figures: "
        f"`python -m batch.start_model`)."
    )


def _range(variant: Variant, sizes: Sizes) -> str:
    """`6-9 min`, below 3 minutes `100-150 s`; one figure where best and worst round to the same."""
    ends = [model_start(variant, sizes, best=best).total for best in (True, False)]
    unit, step, size = ("s", 10, 1) if ends[1] < 180 else ("min", 1, 60)
    low, high = (max(step, round(seconds / size / step) * step) for seconds in ends)
    return f"{low} {unit}" if low == high else f"{low}-{high} {unit}"
