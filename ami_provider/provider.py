"""Pulumi's six questions to a baked AMI: check, diff, create, read, update, delete."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from pulumi.dynamic import (
    CheckFailure,
    CheckResult,
    ConfigureRequest,
    CreateResult,
    DiffResult,
    ReadResult,
    ResourceProvider,
    UpdateResult,
)

Props = dict[str, Any]
P = ParamSpec("P")
R = TypeVar("R")


def readable(question: Callable[P, R]) -> Callable[P, R]:
    """Let every failure reach the reader as a message of ours, without a chain of causes."""

    @wraps(question)
    def answered(*args: P.args, **kwargs: P.kwargs) -> R:
        from ami_provider.messages import to_message

        try:
            return question(*args, **kwargs)
        except Exception as error:
            raise to_message(error) from None

    return answered


@contextmanager
def without_collecting() -> Iterator[None]:
    """Look for no garbage, now or later, among what is only being loaded: that takes a fifth of
    the time that a preview needs here, and finds none."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.freeze()
            gc.enable()


_wanted: set[str] = set()
"""URNs that a program has asked for in this process. One that is deleted without having been is at
its end: a `pulumi destroy`, or a program that dropped it."""


_former: dict[str, Props] = {}
"""By URN: what the state has of a resource that is renamed in this run."""
_moved: dict[str, Props] = {}
"""By a former URN: the lineage that its AMIs have been moved to in this run."""


class BakedAmiProvider(ResourceProvider):
    """Thin: everything it needs is in the properties, but for what this `pulumi` run is about.

    Programs and the state keep it by name only, so what an AMI is never depends on this code.
    What it does is imported when it is asked: a program that only declares the resource, and a
    preview that changes nothing, load little.
    """

    serialize_as_secret_always = False

    def configure(self, req: ConfigureRequest) -> None:  # noqa: ARG002
        """Called in the provider's own process only: there a failure shows its message alone."""
        from ami_provider.engine_watch import end_with_engine
        from ami_provider.progress import find_engine_address
        from ami_provider.workers import widen_worker_pool

        sys.tracebacklimit = 0
        # pydantic would look through every installed package for a plugin of its own.
        os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "true")
        widen_worker_pool()
        address = find_engine_address()
        if address:
            end_with_engine(address)

    @readable
    @without_collecting()
    def check(self, _olds: Props, news: Props) -> CheckResult:
        from ami_provider.checking import check_inputs
        from ami_provider.faults import FaultsError
        from ami_provider.rechecking import once
        from ami_provider.redaction import redact
        from ami_provider.secrecy import conceal
        from ami_provider.unknowns import name_unknown

        _olds, news = name_unknown(_olds), name_unknown(news)
        keep_secret(_olds, news)
        _wanted.update((_get_urn(_olds), _get_urn(news)))
        if _get_urn(_olds) not in ("", _get_urn(news)):
            _former[_get_urn(news)] = _olds
        try:
            checked = once(check_inputs, _olds, news)
        except FaultsError as error:
            told = [CheckFailure(f.path, redact(f.reason)) for f in error.faults]
            return CheckResult(news, told)
        announce(news, checked.notes)
        return CheckResult(conceal(checked.inputs), [])

    @readable
    def diff(self, _id: str, _olds: Props, _news: Props) -> DiffResult:
        from ami_provider.comparing import compare
        from ami_provider.unknowns import name_unknown

        _olds, _news = name_unknown(_olds), name_unknown(_news)
        keep_secret(_olds, _news)
        change = compare(_olds, _news)
        announce(_news, change.lines)
        return DiffResult(change.changes, list(change.replaces), [], delete_before_replace=False)

    @readable
    def create(self, props: Props) -> CreateResult:
        from ami_provider.life import create_ami
        from ami_provider.secrecy import conceal

        keep_secret(props)
        former = _former.get(_get_urn(props))
        outs = create_ami(props, former=former)
        if former:
            _moved[_get_urn(former)] = props["lineage"]
        return CreateResult(outs["ami_id"], conceal(outs))

    @readable
    def read(self, id_: str, props: Props) -> ReadResult:
        from ami_provider.refreshing import find_ami
        from ami_provider.secrecy import conceal

        keep_secret(props)
        outs = find_ami(id_, props)
        return ReadResult(id_ if outs else "", conceal(outs or {}))

    @readable
    def update(self, _id: str, _olds: Props, _news: Props) -> UpdateResult:
        from ami_provider.secrecy import conceal
        from ami_provider.updating import update_ami

        keep_secret(_olds, _news)
        return UpdateResult(conceal(update_ami(_id, _olds, _news)))

    @readable
    def delete(self, _id: str, _props: Props) -> None:
        from ami_provider.life import delete_owned

        keep_secret(_props)
        ends, moved = _get_urn(_props) not in _wanted, _moved.get(_get_urn(_props))
        delete_owned(_id, _props | ({"lineage": moved} if moved else {}), ends=ends)


def _get_urn(props: Props) -> str:
    lineage = props.get("lineage")
    return str(lineage.get("urn", "")) if isinstance(lineage, dict) else ""


def keep_secret(*given: Props) -> None:
    """From now on no message of this process has what is secret in these properties."""
    from ami_provider.redaction import keep_out
    from ami_provider.secrecy import list_texts

    keep_out(text for props in given for text in list_texts(props))


def announce(props: Props, lines: tuple[str, ...]) -> None:
    """Sentences that stay below the resource; the last of them also shows on its line."""
    from ami_provider.progress import create_announcer

    announce_line = create_announcer(_get_urn(props))
    for line in lines:
        announce_line(line)
