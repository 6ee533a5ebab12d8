"""Asks AWS many things at once and keeps every failure as a fault on the input it belongs to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from ami_provider import errors
from ami_provider.faults import Fault, FaultsError

AT_ONCE = 16
"""Look-ups under way at a time: a thousand S3 objects then take about 63 round trips."""

Answer = TypeVar("Answer")
Question = Callable[[], Answer]


def ask_all(questions: Sequence[Question[Answer]]) -> tuple[list[Answer | None], list[Fault]]:
    """Answers in the order of the questions (None where one failed), and all faults in order."""
    if not questions:
        return [], []
    with ThreadPoolExecutor(min(AT_ONCE, len(questions)), thread_name_prefix="look-up") as pool:
        results = list(pool.map(_ask, questions))
    found = [fault for _, faults in results for fault in faults]
    return [answer for answer, _ in results], list(dict.fromkeys(found))


def _ask(question: Question[Answer]) -> tuple[Answer | None, tuple[Fault, ...]]:
    try:
        return question(), ()
    except FaultsError as error:
        return None, error.faults


def fault_of(error: Exception, path: str, action: str, *, on: str) -> FaultsError:
    """The fault for a failed call of `action` that no look-up has a better sentence for.

    Missing credentials and an unreachable region are faults of the site, told once for all calls.
    Raises the error itself where it is neither AWS's nor botocore's: a defect here.
    """
    if not errors.is_aws_error(error):
        raise error
    if errors.is_no_credentials(error):
        return FaultsError([Fault("site", _credentials(error))])
    if errors.is_unreachable(error):
        reason = f"AWS does not answer there: {errors.get_message(error)}"
        return FaultsError([Fault("site.region", f"{reason} Check the region and the network.")])
    return FaultsError([Fault(path, errors.explain_aws(error, action, on=on))])


def _credentials(error: Exception) -> str:
    return errors.explain_aws(error, "")
