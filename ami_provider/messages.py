"""Any failure -> the one error that a reader of `pulumi up` sees."""

from __future__ import annotations

from pathlib import Path

from ami_provider import errors
from ami_provider.faults import FaultsError
from ami_provider.redaction import redact, redact_marked


def to_message(error: Exception) -> Exception:
    """A `BakeError` for whatever was raised, without secrets; a defect of ours says where it is."""
    told = _explain(error)
    told.brief, told.details = redact(told.brief), redact(told.details)
    told.resolution = redact_marked(told.resolution)
    return told


def _explain(error: Exception) -> errors.BakeError:
    if isinstance(error, errors.BakeError):
        return error
    if isinstance(error, FaultsError):
        return errors.BakeError("the inputs do not hold any more", str(error))
    if errors.is_aws_error(error):
        operation = str(getattr(error, "operation_name", "") or "an AWS call")
        return errors.BakeError(errors.explain_aws(error, operation))
    return errors.BakeError(
        f"a defect in the provider: {type(error).__name__}: {error}",
        f"at {_place(error)}",
        "report it with the line above; running the command again continues where it stopped.",
    )


def _place(error: Exception) -> str:
    """File, line and function it was raised at (`traceback` itself shows none at limit 0)."""
    found = error.__traceback__
    while found and found.tb_next:
        found = found.tb_next
    if found is None:
        return "an unknown place"
    code = found.tb_frame.f_code
    return f"{Path(code.co_filename).name}, line {found.tb_lineno}, in {code.co_name}"
