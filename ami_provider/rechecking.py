"""The engine checks a replacement twice, the second time as if it were new: answers it once."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any

from ami_provider.checking import Checked
from ami_provider.fingerprint import canonical_json
from ami_provider.properties import GIVEN

Check = Callable[[Mapping[str, Any], Mapping[str, Any]], Checked]

_answers: dict[str, tuple[str, Checked]] = {}
_lock = threading.Lock()


def once(check: Check, olds: Mapping[str, Any], news: Mapping[str, Any]) -> Checked:
    """The answer of `check`; for the second check of a replacement, the first one's again.

    The second comes without `olds`, so it could not tell which base AMI is to stay, and would ask
    AWS everything anew. It is known by the same resource and the same inputs, just after a check
    with `olds` in this process, and it is answered once; its notes were told already.
    """
    urn = str((news.get("lineage") or {}).get("urn", ""))
    given = canonical_json({key: news.get(key) for key in GIVEN})
    with _lock:
        known = _answers.pop(urn, None)
    if known and not olds and known[0] == given:
        return Checked(dict(known[1].inputs))
    checked = check(olds, news)
    if olds:
        with _lock:
            _answers[urn] = (given, checked)
    return checked
