"""Any failure -> the one error that a reader of `pulumi up` sees."""

from __future__ import annotations

import traceback
from pathlib import Path

from ami_provider import errors
from ami_provider.faults import FaultsError


def to_message(error: Exception) -> Exception:
    """A `BakeError` for whatever was raised; a defect of ours says where it is."""
    if isinstance(error, errors.BakeError):
        return error
    if isinstance(error, FaultsError):
        return errors.BakeError("the inputs do not hold any more", str(error))
    if errors.is_aws_error(error):
        operation = str(getattr(error, "operation_name", "") or "an AWS call")
        return errors.BakeError(errors.explain_aws(error, operation))
    last = traceback.extract_tb(error.__traceback__)[-1]
    return errors.BakeError(
        f"a defect in the provider: {type(error).__name__}: {error}",
        f"at {Path(last.filename).name}, line {last.lineno}, in {last.name}",
        "report it with the line above; running the command again continues where it stopped.",
    )
