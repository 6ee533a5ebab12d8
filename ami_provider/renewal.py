"""Credentials that are read again when AWS says that they have expired: a sign-in in mid-bake."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from ami_provider.errors import EXPIRED


class RenewableCredentials:
    """The credentials of a botocore session; `renew` takes those that are there by now.

    Roles and single sign-on renew themselves while they can. This is for what they cannot do:
    somebody signs in anew, which changes the shared credentials file or the sign-in's cache.
    """

    def __init__(self, now: Any, load: Callable[[], Any]) -> None:
        self._load = load
        self._lock = threading.Lock()
        self._now = now

    def __bool__(self) -> bool:
        return self._now is not None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._now, name)

    def renew(self) -> bool:
        """Whether there are others than those in use; they are in use then."""
        with self._lock:
            found = self._load()
            if found is None or _frozen(found) == _frozen(self._now):
                return False
            self._now = found
            return True

    def retry_when_renewed(self, response: Any = None, attempts: int = 1, **_: Any) -> float | None:
        """botocore's `needs-retry` handler: seconds until the same call again, or None."""
        code = response[1].get("Error", {}).get("Code") if response else None
        return 0.0 if code in EXPIRED and attempts <= 2 and self.renew() else None


def _frozen(credentials: Any) -> tuple[str, str | None] | None:
    """Which credentials these are; None for those that cannot be had now (a sign-in is due)."""
    try:
        frozen = credentials.get_frozen_credentials()
    except Exception:
        return None
    return frozen.access_key, frozen.token
