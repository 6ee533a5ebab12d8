"""The one exception that reaches a client of the local cloud as an AWS error."""


class AwsError(Exception):
    """An error as AWS answers it: raised by a handler, serialised by the front for its caller."""

    def __init__(self, code: str, message: str, *, status: int = 400) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.status = status


def not_modelled(what: str) -> AwsError:
    """The answer to anything the local cloud does not model: never a silent success."""
    return AwsError("NotImplemented", f"The local cloud does not model {what}.", status=501)
