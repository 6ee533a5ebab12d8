"""What a failing call looks like to its client: AWS's codes and words, hangs, lost connections."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from moto.core.utils import get_service_model

from local_cloud.errors import AwsError
from local_cloud.faults.kinds import Fault

#: Where a service's code for throttling is not `ThrottlingException` (each service's reference).
THROTTLE_CODES = {
    "ec2": "RequestLimitExceeded",
    "s3": "SlowDown",
    "iam": "Throttling",
    "sts": "Throttling",
    "batch": "TooManyRequestsException",
}
#: How far a client's clock is off before AWS refuses its signature (SigV4: 15 minutes).
SKEW = timedelta(minutes=15)
#: The skew that `clock-skew` shows in messages.
BEHIND = timedelta(minutes=20)


class DroppedError(Exception):
    """The connection is closed without an answer."""


def error_of(fault: Fault) -> AwsError | None:
    """The AWS error that a fault answers with; None for those that answer nothing, or late."""
    if fault.fault == "throttle":
        code = THROTTLE_CODES.get(fault.service, "ThrottlingException")
        said = "Request limit exceeded." if fault.service == "ec2" else "Rate exceeded"
        status = 503 if fault.service in ("ec2", "s3") else 400
        if fault.service == "s3":
            said = "Please reduce your request rate."
    elif fault.fault == "error":
        code, said, status = "InternalError", "An internal error has occurred", 500
    elif fault.fault == "expired-credentials":
        code, said, status = _expired(fault.service)
    elif fault.fault == "clock-skew":
        code, said, status = _skewed(fault.service)
    else:
        return None
    return AwsError(fault.code or code, fault.message or said, status=fault.status or status)


def _expired(service: str) -> tuple[str, str, int]:
    """As clients of each service have reported it (aws-sdk-go-v2 #1674 for EC2)."""
    said = "The security token included in the request is expired"
    if service == "ec2":
        return "RequestExpired", "Request has expired.", 400
    if service == "s3":
        return "ExpiredToken", "The provided token has expired.", 400
    protocol = _protocol(service)
    if protocol in ("query", "rest-xml"):
        return "ExpiredToken", said, 403
    return "ExpiredTokenException", said, 403 if protocol == "rest-json" else 400


def _skewed(service: str) -> tuple[str, str, int]:
    """EC2 does not say that it is the clock; S3 and the others do."""
    if service == "ec2":
        said = "AWS was not able to validate the provided access credentials"
        return "AuthFailure", said, 401
    if service == "s3":
        said = "The difference between the request time and the current time is too large."
        return "RequestTimeTooSkewed", said, 403
    now = datetime.now(UTC)
    signed, earliest, at = (f"{one:%Y%m%dT%H%M%SZ}" for one in (now - BEHIND, now - SKEW, now))
    said = f"Signature expired: {signed} is now earlier than {earliest} ({at} - 15 min.)"
    protocol = _protocol(service)
    if protocol in ("query", "rest-xml"):
        return "SignatureDoesNotMatch", said, 403
    return "InvalidSignatureException", said, 403 if protocol == "rest-json" else 400


def _protocol(service: str) -> str:
    return str(get_service_model(service).metadata["protocol"])


def before_effect(fault: Fault, sleep: Callable[[float], object] = time.sleep) -> None:
    """What a fault does before the call has any effect: AwsError, or DroppedError after a hang."""
    error = error_of(fault)
    if error is not None:
        raise error
    if fault.fault == "timeout":
        sleep(fault.seconds)
        raise DroppedError
    if fault.fault == "drop-before":
        raise DroppedError


def after_effect(fault: Fault, sleep: Callable[[float], object] = time.sleep) -> None:
    """What a fault does once the call has had its effect: holds the answer back, or loses it."""
    if fault.fault == "late":
        sleep(fault.seconds)
    if fault.fault == "drop-after":
        raise DroppedError
