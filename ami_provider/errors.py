"""The one error a bake ends with, and AWS's error codes as questions that have a name."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Any


class BakeError(Exception):
    """What went wrong (`brief`), the evidence (`details`), and what to do next (`resolution`)."""

    def __init__(self, brief: str, details: str = "", resolution: str = "") -> None:
        super().__init__(brief, details, resolution)
        self.brief = brief
        self.details = details
        self.resolution = resolution

    def __str__(self) -> str:
        lines = [self.brief]
        if self.details:
            lines += ["", *(f"  {line}".rstrip() for line in self.details.splitlines())]
        if self.resolution:
            lines += ["", f"What to do: {self.resolution}"]
        return "\n".join(lines)


class StepError(BakeError):
    """A step that ended badly on a machine: another run of the same bake would see the same."""


BakeError.__module__ = "builtins"  # Tracebacks then name it "BakeError", without our folders.
StepError.__module__ = "builtins"

NOT_FOUND = re.compile(
    r"NotFound|NoSuch|NotExist|^404$|InvalidAMIID\.(Unavailable|Malformed)|Unknown(Image|Snapshot)"
)
THROTTLED = {
    "RequestLimitExceeded", "Throttling", "ThrottlingException", "ThrottledException", "SlowDown",
    "TooManyRequestsException", "RequestThrottled", "EC2ThrottledException",
    "RequestThrottledException", "PriorRequestNotComplete", "SnapshotCreationPerVolumeRateExceeded",
}  # fmt: skip
ACCESS_DENIED = {
    "UnauthorizedOperation", "AccessDenied", "AccessDeniedException", "AuthorizationError", "403",
    "Forbidden",
}  # fmt: skip
NO_CREDENTIALS = {
    "AuthFailure", "ExpiredToken", "ExpiredTokenException", "InvalidClientTokenId",
    "InvalidAccessKeyId", "SignatureDoesNotMatch", "UnrecognizedClientException",
    "NoCredentialsError", "RequestExpired", "TokenRefreshRequired", "SSOTokenLoadError",
    "UnauthorizedSSOTokenError", "PartialCredentialsError", "ProfileNotFound",
}  # fmt: skip
EXPIRED = {
    "ExpiredToken", "ExpiredTokenException", "RequestExpired", "TokenRefreshRequired",
    "UnauthorizedSSOTokenError",
}  # fmt: skip
ACCESS_CLOCK = NO_CREDENTIALS | {"RequestTimeTooSkewed", "InvalidSignatureException"}
"""What AWS answers to a signature of another time, as to one that is wrong."""

CLOCK_TOLERANCE_S = 240.0
"""AWS bears 5 min (15 min in S3) between a signature's time and its own."""

UNREACHABLE = {
    "EndpointConnectionError", "ConnectTimeoutError", "ReadTimeoutError", "ProxyConnectionError",
    "ConnectionClosedError", "SSLError", "HTTPClientError",
}  # fmt: skip
CAPACITY = {
    "InsufficientInstanceCapacity", "InsufficientHostCapacity", "InsufficientCapacity",
    "SpotMaxPriceTooLow", "MaxSpotInstanceCountExceeded", "Unsupported", "VcpuLimitExceeded",
    "InstanceLimitExceeded", "InsufficientFreeAddressesInSubnet", "MaxScopedSpotInstanceCount",
}  # fmt: skip


def get_code(error: BaseException) -> str:
    """AWS's code of an error (`InvalidSubnetID.NotFound`), or the exception's own name."""
    response: Mapping[str, Any] = getattr(error, "response", None) or {}
    return str(response.get("Error", {}).get("Code") or type(error).__name__)


def get_message(error: BaseException) -> str:
    """AWS's own words of an error, or the exception's."""
    response: Mapping[str, Any] = getattr(error, "response", None) or {}
    return str(response.get("Error", {}).get("Message") or error)


def is_aws_error(error: BaseException) -> bool:
    """Whether AWS, or the client library on the way to it, raised this."""
    return hasattr(error, "response") or type(error).__module__.startswith("botocore.")


def is_not_found(error: BaseException) -> bool:
    return bool(NOT_FOUND.search(get_code(error)))


def is_throttled(error: BaseException) -> bool:
    return get_code(error) in THROTTLED


def is_access_denied(error: BaseException) -> bool:
    return get_code(error) in ACCESS_DENIED


def is_no_credentials(error: BaseException) -> bool:
    return get_code(error) in NO_CREDENTIALS


def is_unreachable(error: BaseException) -> bool:
    """No answer at all: no network, no such host, a wrong region's name."""
    names = {
        "EndpointConnectionError",
        "ConnectTimeoutError",
        "ReadTimeoutError",
        "ProxyConnectionError",
    }
    return type(error).__name__ in names | {"ConnectionClosedError", "SSLError", "HTTPClientError"}


def is_capacity(error: BaseException) -> bool:
    """No machine of that type there now: try the next type or subnet."""
    return get_code(error) in CAPACITY


def is_duplicate_name(error: BaseException) -> bool:
    """An AMI of that name exists, or is being made: follow the other."""
    return get_code(error) == "InvalidAMIName.Duplicate"


def is_token_mismatch(error: BaseException) -> bool:
    """The ClientToken was used with other parameters: another bake launched first."""
    return get_code(error) in ("IdempotentParameterMismatch", "InvalidClientToken")


def is_wrong_state(error: BaseException) -> bool:
    """The machine is not in a state for this: it was stopped or ended."""
    return get_code(error) in ("IncorrectInstanceState", "IncorrectState")


def is_in_use(error: BaseException) -> bool:
    return get_code(error) in ("InvalidSnapshot.InUse", "DependencyViolation", "ResourceInUse")


def is_transient(error: BaseException) -> bool:
    """Worth another try later: throttled, unreachable, or a fault on AWS's side."""
    response: Mapping[str, Any] = getattr(error, "response", None) or {}
    status = response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    return is_throttled(error) or is_unreachable(error) or int(status) >= 500


def lacks_credentials(error: BaseException | None) -> bool:
    """Whether this error, or what caused it, is AWS not accepting the credentials."""
    while error is not None:
        if is_no_credentials(error):
            return True
        error = error.__cause__
    return False


def get_clock_skew(error: BaseException) -> float:
    """Seconds that this computer's clock is ahead of AWS's, by the answer's Date; 0 if unknown."""
    response: Mapping[str, Any] = getattr(error, "response", None) or {}
    sent = response.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("date", "")
    try:
        return time.time() - parsedate_to_datetime(sent).timestamp()
    except (TypeError, ValueError):
        return 0.0


def missing_action(error: BaseException, otherwise: str) -> str:
    """The IAM action whose permission is missing, as AWS names it, or else `otherwise`.

    Of several in `otherwise` (`ec2:DescribeInstances, ec2:TerminateInstances`) it is the one that
    was called.
    """
    named = re.search(r"perform:? ([a-z0-9-]+:[A-Za-z*]+)", get_message(error))
    if named:
        return named.group(1)
    called = f":{getattr(error, 'operation_name', '')}"
    return next((one for one in otherwise.split(", ") if one.endswith(called)), otherwise)


def explain_aws(error: BaseException, action: str, *, on: str = "") -> str:
    """One or two sentences on a failed call of `action` (`ec2:RunInstances`), with the way out."""
    where = f" on {on}" if on else ""
    if is_access_denied(error):
        return (
            f"permission {missing_action(error, action)}{where} is missing. Add it to the "
            f"policy of the identity that runs Pulumi."
        )
    skew = get_clock_skew(error)
    if get_code(error) in ACCESS_CLOCK and abs(skew) > CLOCK_TOLERANCE_S:
        return (
            f"AWS refuses {action}{where} ({get_code(error)}): this computer's clock is "
            f"{abs(skew) / 60:.0f} min {'ahead of' if skew > 0 else 'behind'} AWS's. Set the "
            f"clock (timedatectl set-ntp true)."
        )
    if is_no_credentials(error):
        return (
            f"AWS does not accept the credentials ({get_code(error)}). Sign in again (`aws sso "
            f"login`, or AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY)."
        )
    if is_throttled(error):
        return f"AWS throttled {action}{where} and kept on after retries. Try again in a minute."
    if is_unreachable(error):
        return f"no answer to {action}: {get_message(error)} Check the region and the network."
    return f"{action}{where} failed with {get_code(error)}: {get_message(error)}"


def bake_error(error: BaseException, brief: str, action: str, resolution: str = "") -> BakeError:
    """A `BakeError` for a failed AWS call, with the missing permission or credential named."""
    return BakeError(brief, explain_aws(error, action), resolution)
