"""AWS's codes as questions, and errors as a reader sees them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError, NoCredentialsError

from ami_provider import errors
from ami_provider.errors import BakeError, explain_aws


def refused(code: str, message: str = "", status: int = 400) -> ClientError:
    return ClientError(
        {
            "Error": {"Code": code, "Message": message},
            "ResponseMetadata": {"HTTPStatusCode": status},  # type: ignore[typeddict-item]
        },
        "Action",
    )


QUESTIONS: list[tuple[Callable[[BaseException], bool], list[str]]] = [
    (errors.is_not_found, [
        "InvalidAMIID.NotFound", "InvalidInstanceID.NotFound", "NoSuchKey", "NoSuchBucket", "404",
        "RepositoryNotFoundException", "ParameterNotFound", "NoSuchEntity",
        "InvalidSnapshot.NotFound",
    ]),
    (errors.is_throttled, ["RequestLimitExceeded", "ThrottlingException", "SlowDown"]),
    (errors.is_access_denied, ["UnauthorizedOperation", "AccessDenied", "403"]),
    (errors.is_no_credentials, ["ExpiredToken", "AuthFailure", "UnrecognizedClientException"]),
    (errors.is_capacity, ["InsufficientInstanceCapacity", "Unsupported", "VcpuLimitExceeded"]),
    (errors.is_duplicate_name, ["InvalidAMIName.Duplicate"]),
    (errors.is_token_mismatch, ["IdempotentParameterMismatch"]),
    (errors.is_in_use, ["InvalidSnapshot.InUse"]),
]  # fmt: skip


@pytest.mark.parametrize(("question", "codes"), QUESTIONS, ids=lambda v: getattr(v, "__name__", ""))
def test_each_code_has_one_meaning(
    question: Callable[[BaseException], bool], codes: list[str]
) -> None:
    assert all(question(refused(code)) for code in codes)
    others = [code for other, listed in QUESTIONS if other is not question for code in listed]
    assert not any(question(refused(code)) for code in others)


def test_faults_on_awss_side_are_worth_another_try() -> None:
    assert errors.is_transient(refused("InternalError", status=500))
    assert errors.is_transient(refused("RequestLimitExceeded"))
    assert errors.is_transient(EndpointConnectionError(endpoint_url="https://x"))
    assert not errors.is_transient(refused("InvalidParameterValue"))
    assert not errors.is_transient(ValueError("x"))


EXPLAINED: list[tuple[BaseException, str]] = [
    (refused("UnauthorizedOperation", "User: u is not authorized to perform: ec2:CreateImage on x"),
     "permission ec2:CreateImage on it is missing"),
    (refused("AccessDenied"), "permission ec2:RunInstances on it is missing"),
    (refused("ExpiredToken"), "does not accept the credentials (ExpiredToken). Sign in again"),
    (NoCredentialsError(), "does not accept the credentials (NoCredentialsError)"),
    (refused("RequestLimitExceeded"), "AWS throttled ec2:RunInstances on it"),
    (EndpointConnectionError(endpoint_url="https://x"), "Check the region and the network."),
    (refused("Strange", "as said"), "ec2:RunInstances on it failed with Strange: as said"),
]  # fmt: skip


@pytest.mark.parametrize(("error", "text"), EXPLAINED, ids=lambda v: str(v)[:30])
def test_a_failed_call_is_explained(error: BaseException, text: str) -> None:
    assert text in explain_aws(error, "ec2:RunInstances", on="it")


def test_of_several_actions_the_one_that_was_called_is_named() -> None:
    denied = refused("UnauthorizedOperation")
    several = "ec2:DescribeInstances, ec2:RunInstances"
    assert f"permission {several} is missing" in explain_aws(denied, several)
    denied.operation_name = "RunInstances"
    assert "permission ec2:RunInstances is missing" in explain_aws(denied, several)


def test_a_bake_error_reads_as_brief_details_and_way_out() -> None:
    assert str(BakeError("it failed", "line 1\nline 2", "Try again.")) == (
        "it failed\n\n  line 1\n  line 2\n\nWhat to do: Try again."
    )
    assert str(BakeError("it failed")) == "it failed"
