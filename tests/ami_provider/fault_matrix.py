"""One kind of fault at every action of every phase of a bake, one cell after the other."""

from __future__ import annotations

from typing import Any

from ami_provider.errors import BakeError
from ami_provider.resolved import ResolvedRecipe
from local_cloud.faults import Fault, Faults
from local_cloud.faults.kinds import CallKind
from tests.ami_provider.clouds import EMPTY, ONE_AMI, Bakery
from tests.ami_provider.matrix import (
    ALIVE,
    Cell,
    Outcome,
    PhasedAws,
    PhaseFaults,
    clear,
    list_cells,
    refresh,
    run,
)


def go_through(
    bakery: Bakery,
    went: Outcome,
    kind: CallKind,
    times: int | None,
    *,
    seconds: float = 0.0,
    code: str = "",
) -> None:
    """Bake once for each cell, with the fault there. A passing fault must be survived.

    `code` is what AWS answers in place of the kind's own.
    """
    answer: dict[str, Any] = {"code": code, "status": 403} if code else {}
    resolved, site = bakery.resolve(), bakery.site()
    for cell in list_cells(bakery, resolved):
        recipe = refresh(resolved)
        aws = PhasedAws(bakery.cloud.region)
        fault = Fault(
            service=cell.service,
            action=cell.action,
            fault=kind,
            times=times,
            seconds=seconds,
            **answer,
        )
        faults = bakery.cloud.faults = PhaseFaults(aws, cell, fault)
        told: tuple[str, ...] = ()
        failed: BakeError | None = None
        try:
            told = run(bakery, aws, recipe, site).warnings
        except BakeError as error:
            failed = error
        bakery.cloud.faults = Faults()
        went.cells += 1
        wrong = judge(bakery, recipe, cell, failed, told, passing=times is not None)
        if not faults.taken:
            wrong = "the fault did not happen"
        if wrong:
            went.wrong.append(f"{cell}: {wrong}")
        elif failed:
            went.refused += 1
        else:
            went.succeeded += 1
        clear(bakery)


def judge(
    bakery: Bakery,
    recipe: ResolvedRecipe,
    cell: Cell,
    failed: BakeError | None,
    warnings: tuple[str, ...],
    *,
    passing: bool,
) -> str:
    """What is wrong with how the bake ended; "" if nothing is.

    A machine that AWS would not end is no leftover when the reader is told: it ends by itself.
    Neither is an AMI that could not be looked at: it is told too, and the next run takes it.
    """
    if failed is not None:
        if passing:
            return f"not survived: {failed}"
        if not failed.brief or cell.action not in str(failed):
            return f"not a clear error: {failed}"
    told = "\n".join((*warnings, str(failed or "")))
    machines = [
        machine["InstanceId"]
        for reservation in bakery.aws.ec2.describe_instances(Filters=[ALIVE])["Reservations"]
        for machine in reservation["Instances"]
    ]
    if any(f"--instance-ids {machine}" not in told for machine in machines):
        return f"left without a word: {machines}"
    if machines:
        bakery.aws.ec2.terminate_instances(InstanceIds=machines)
    images = bakery.aws.ec2.describe_images(Owners=["self"])["Images"]
    if failed and images and all(image["ImageId"] in told for image in images):
        run(bakery, PhasedAws(bakery.cloud.region), recipe, bakery.site())
        failed = None
    left, wanted = bakery.count(), EMPTY if failed else ONE_AMI
    return "" if left == wanted else f"{left} instead of {wanted}, {failed}"
