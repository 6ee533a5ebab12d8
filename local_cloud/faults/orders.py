"""The faults that are on order, and how often each was met."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from local_cloud.faults.kinds import Entry, Fault, Limit, MachineFault, Unseen
from local_cloud.faults.when import Facts, is_machine_fact, matches

E = TypeVar("E", bound=Entry)


SPOT_ONLY = ("interrupt", "rebalance")


def _is_about(fault: MachineFault, call: tuple[str, str] | None, *, before: bool) -> bool:
    if call is None or fault.action is None:
        return call is None and fault.action is None
    named = fault.service in ("*", call[0]) and fault.action in ("*", call[1])
    return named and fault.before == before


@dataclass
class _Order:
    entry: Entry
    met: int = 0
    used: int = 0

    @property
    def over(self) -> bool:
        return self.entry.times is not None and self.used >= self.entry.times

    def meet(self) -> bool:
        """Count a match; whether this one is hit."""
        self.met += 1
        if self.met <= self.entry.after or self.over:
            return False
        self.used += 1
        return True


class Faults:
    """Faults in their order. May be asked from several threads."""

    def __init__(self, entries: Sequence[Entry] | None = None) -> None:
        self._lock = threading.RLock()
        self._orders = [_Order(entry) for entry in entries or []]

    def add(self, entries: Sequence[Entry]) -> None:
        """Order more, after those that are there."""
        with self._lock:
            self._orders += [_Order(entry) for entry in entries]

    def take(
        self,
        service: str,
        action: str,
        params: dict[str, Any],
        facts: Callable[[], Sequence[Facts]] | None = None,
        *,
        of_call: Facts | None = None,
    ) -> Fault | None:
        """The fault of this call, counted as used, or None: the first entry that matches.

        `facts` tells what the call's machines are, and is asked only where an entry wants to know.
        """
        with self._lock:
            known: Sequence[Facts] | None = None
            for order in self._orders:
                fault = order.entry
                if not isinstance(fault, Fault) or order.over:
                    continue
                if fault.service not in ("*", service) or fault.action not in ("*", action):
                    continue
                if facts is not None and any(is_machine_fact(name) for name in fault.when):
                    known = facts() if known is None else known
                choices = known or [{}]
                if not any(
                    matches(fault.when, params, {**(of_call or {}), **one}) for one in choices
                ):
                    continue
                if order.meet():
                    return fault.model_copy(
                        update={"service": service if fault.service == "*" else fault.service}
                    )
        return None

    def take_for_machine(
        self, facts: Facts, *, call: tuple[str, str] | None = None, before: bool = False,
        params: dict[str, Any] | None = None,
    ) -> list[MachineFault]:  # fmt: skip
        """What befalls one machine now, counted as used: at its launch, or about a call.

        `call` is its service and action. Only spot machines are interrupted.
        """
        found = []
        with self._lock:
            for order in self._orders:
                fault = order.entry
                if not isinstance(fault, MachineFault) or order.over:
                    continue
                if fault.fault in SPOT_ONLY and not facts.get("spot"):
                    continue
                if not _is_about(fault, call, before=before):
                    continue
                if matches(fault.when, params or {}, facts) and order.meet():
                    found.append(fault)
        return found

    def watches(self, call: tuple[str, str], *, before: bool) -> bool:
        """Whether something befalls machines about such calls."""
        return any(_is_about(one, call, before=before) for one in self._left(MachineFault))

    def limits(self, kind: str, facts: Facts) -> list[Limit]:
        """The limits of a kind that hold for such a launch."""
        return [
            one for one in self._left(Limit) if one.fault == kind and matches(one.when, {}, facts)
        ]

    def refuses(self, limit: Limit) -> bool:
        """Count that a launch ran into the limit; False while its `after` lets them pass."""
        with self._lock:
            return any(order.meet() for order in self._orders if order.entry is limit)

    def unseen(self, kind: str, facts: Facts) -> Unseen | None:
        """How long a new thing of a kind is not seen, counted as used; None if it is at once."""
        with self._lock:
            for order in self._orders:
                entry = order.entry
                if not isinstance(entry, Unseen) or entry.of != kind or order.over:
                    continue
                if matches(entry.when, {}, facts) and order.meet():
                    return entry
        return None

    def stands(self, entry: Entry) -> bool:
        """Whether the entry is still on order, used up or not."""
        with self._lock:
            return any(order.entry == entry for order in self._orders)

    def _left(self, kind: type[E]) -> list[E]:
        with self._lock:
            return [
                order.entry
                for order in self._orders
                if isinstance(order.entry, kind) and not order.over
            ]

    def shown(self) -> list[dict[str, Any]]:
        """Every entry as it was ordered, with how often it matched and how often it hit."""
        with self._lock:
            return [
                order.entry.model_dump(exclude_unset=True)
                | {"fault": order.entry.fault, "met": order.met, "used": order.used}
                for order in self._orders
            ]
