"""What Batch checks of a job's needs, tries and time, in a definition as in a submission."""

from __future__ import annotations

import re

from local_cloud.call import Call, Params
from local_cloud.services.batch_model import refused

#: The least of each resource of a container on EC2 (API reference, `ResourceRequirement`).
LEAST = {"VCPU": 1, "MEMORY": 4, "GPU": 1}
LONGEST_PATTERN = 512
#: What patterns may be made of (API reference, `EvaluateOnExit`).
_TEXT = re.compile(r"[A-Za-z0-9.:\s]*\*?")
_NUMBER = re.compile(r"[0-9]*\*?")
PATTERNS = {"onStatusReason": _TEXT, "onReason": _TEXT, "onExitCode": _NUMBER}


def requirements_of(container: Params) -> dict[str, str]:
    """By kind. The older `vcpus` and `memory` count where no requirement says it."""
    old = {"VCPU": container.get("vcpus"), "MEMORY": container.get("memory")}
    held = {kind: str(value) for kind, value in old.items() if value}
    return held | {one["type"]: one["value"] for one in container.get("resourceRequirements") or []}


def check_requirements(call: Call, wanted: dict[str, str]) -> None:
    for kind, value in wanted.items():
        number = r"\d+(\.\d+)?" if kind == "VCPU" else r"\d+"
        if not re.fullmatch(number, value) or float(value) < LEAST[kind]:
            raise refused(
                call,
                f"The value of resource requirement {kind} is not valid: {value}; a"
                f"{' whole' if kind != 'VCPU' else ''} number from {LEAST[kind]} on is needed",
            )


def check_tries_and_time(call: Call, retry: Params, timeout: Params) -> None:
    """A retry strategy and a timeout; an empty one says nothing."""
    if timeout.get("attemptDurationSeconds", 60) < 60:
        raise refused(call, "attemptDurationSeconds should be at least 60")
    if not 1 <= retry.get("attempts", 1) <= 10:
        raise refused(call, "attempts of the retry strategy should be between 1 and 10")
    conditions = retry.get("evaluateOnExit") or []
    if len(conditions) > 5:
        raise refused(call, "evaluateOnExit should have at most 5 entries")
    if conditions and "attempts" not in retry:
        raise refused(call, "attempts must be given with evaluateOnExit")
    for condition in conditions:
        _check_condition(call, condition)


def _check_condition(call: Call, condition: Params) -> None:
    if condition["action"].upper() not in ("RETRY", "EXIT"):
        raise refused(
            call, f"action of evaluateOnExit should be RETRY or EXIT, but is {condition['action']}"
        )
    for name, pattern in PATTERNS.items():
        said = condition.get(name, "")
        if len(said) > LONGEST_PATTERN or not pattern.fullmatch(said):
            raise refused(call, f"{name} of evaluateOnExit is not a valid pattern: {said}")
