"""`troubleshooting.md`: every error with its cause and its remedy, from the code that tells it."""

from __future__ import annotations

from collections.abc import Iterator

from ami_provider import errors
from ami_provider.failures import FAILURES
from docs.errors_in_code import find_errors, find_refusals

HEAD = """# Troubleshooting

*Written by `make docs` from the errors in `ami_provider/`: change them there.*

An error says in its first line what could not be done, below it the evidence (the end of the
step's log, AWS's own words), and at the end what to do.
In a stack's settings the inputs that an error names have these keys: `root_volume.size_gib` is
`rootVolumeGib`, `system_update` `systemUpdate`, `site.timeouts` `build.timeouts`, `capacity`
`build.capacity`, `on_failure` `build.onFailure`,
`trusted_owners` `trustedOwners`; what has no key there (`system_update.hold`, `extra_steps`,
`agent.extra`) is for programs that use `BakedAmi` themselves.
After most of them the same `pulumi up` goes on where it stopped. Nothing is left behind, unless
`build.onFailure: keep` asks for the builder.
"""
STEPS = """## A step failed on the machine

Each step names its failure (`baked-ami-failure: KIND: …` in its log), or leaves a log that is
known. The cause and the remedy are in the error.

| Kind | Cause | What to do |
|---|---|---|
"""
CALLS = """## AWS refuses a call

What the error says about AWS's answer, here for `ec2:RunInstances`; the permission that is
missing is named as AWS names it.

| AWS's code | What the error says |
|---|---|
"""
REFUSED = """## An input is refused

Told at `pulumi preview`, all at once, each under its input; nothing is launched before every one
is corrected.

| What the error says |
|---|
"""
OTHERS = """## The bake cannot go on

Words in CAPITALS stand for what the error names.

| Error | Why | What to do |
|---|---|---|
"""


def render() -> str:
    """The whole page."""
    steps = [f"| `{f.kind}` | {f.cause} | {f.remedy} |" for f in FAILURES]
    calls = [f"| {', '.join(f'`{c}`' for c in codes)} | {said} |" for codes, said in _answers()]
    refused = [f"| {words} |" for words in find_refusals()]
    others = [f"| {told.brief} | {told.why} | {told.remedy} |" for told in find_errors()]
    tables: tuple[tuple[str, list[str]], ...] = (
        *((HEAD, []), (STEPS, steps), (CALLS, calls)),
        *((REFUSED, refused), (OTHERS, others)),
    )
    return "\n".join(head + "".join(f"{row}\n" for row in rows) for head, rows in tables)


def _answers() -> Iterator[tuple[list[str], str]]:
    """AWS's codes by class, with the very words of `explain_aws` for one of them."""
    for codes in (errors.ACCESS_DENIED, errors.NO_CREDENTIALS, errors.THROTTLED):
        known = sorted(codes)
        said = errors.explain_aws(_RefusalError(known[0]), "ec2:RunInstances")
        yield known, said.replace(f"({known[0]})", "(CODE)")
    unreachable = type("EndpointConnectionError", (Exception,), {})("AWS'S NAME does not answer.")
    yield sorted(errors.UNREACHABLE), errors.explain_aws(unreachable, "ec2:RunInstances")


class _RefusalError(Exception):
    """An answer of AWS's with this code."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.response = {"Error": {"Code": code, "Message": "not authorized"}}
