"""Chromium without a window, driven over its own pipe: a page's picture, outline and complaints.

No package is needed: Chrome DevTools Protocol messages are JSON, each ended by a zero byte, read by
the browser from its file descriptor 3 and written to 4 (`--remote-debugging-pipe`).
"""

from __future__ import annotations

import base64
import contextlib
import fcntl
import json
import os
import select
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from toolchain.debian import BROWSERS, find_chromium
from toolchain.errors import SetupError

FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND",  # whatever it still wants to ask: no name resolves
    "--proxy-server=http://127.0.0.1:9",  # and no address is reached directly
    "--hide-scrollbars", "--force-color-profile=srgb", "--remote-debugging-pipe",
)  # fmt: skip

ANSWER_S = 240.0
"""How long one answer may take on a machine that is busy with other things."""


@dataclass(frozen=True, kw_only=True)
class Screen:
    """Width and height in CSS pixels; `scale` is how many of the picture's make one of them."""

    width: int
    height: int = 900
    scale: float = 1.0
    dark: bool = False


@dataclass
class Tab:
    """One page that is open. `requests` are the URLs it asked for, `complaints` the console's."""

    browser: Browser
    session: str
    requests: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """One command of the DevTools protocol; raises `SetupError` where it is refused."""
        return self.browser.call(method, params, self)

    def set_screen(self, screen: Screen) -> None:
        """Look at the page as on this screen from now on."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=screen.width,
            height=screen.height,
            deviceScaleFactor=screen.scale,
            mobile=screen.width < 600,
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if screen.dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])

    def open(self, path: Path) -> None:
        """Load a file and wait until all of it is there."""
        self.call("Page.navigate", url=path.resolve().as_uri())
        self.browser.wait_until_loaded(self)

    def evaluate(self, script: str) -> Any:
        """What a JavaScript expression gives, as plain data."""
        answer = self.call("Runtime.evaluate", expression=script, returnByValue=True)
        if "exceptionDetails" in answer:
            raise SetupError("The script failed.", details=str(answer["exceptionDetails"]))
        return answer["result"].get("value")

    def take_picture(self, *, down_to: float | None = None) -> bytes:
        """A PNG of what the screen shows, or of the page from its top down to this many pixels."""
        params: dict[str, Any] = {"format": "png"}
        if down_to is not None:
            width = self.evaluate("innerWidth")
            clip = {"x": 0, "y": 0, "width": width, "height": down_to, "scale": 1}
            params |= {"captureBeyondViewport": True, "clip": clip}
        return base64.b64decode(self.call("Page.captureScreenshot", **params)["data"])

    def read_aloud(self) -> list[tuple[str, str]]:
        """Role and name of everything that a screen reader is given, in its order."""
        nodes = self.call("Accessibility.getFullAXTree")["nodes"]
        return [
            (str(node["role"]["value"]), str(node.get("name", {}).get("value", "")))
            for node in nodes
            if not node.get("ignored")
        ]


class Browser:
    """A browser's process with a profile of its own; see `open_browser`."""

    def __init__(self, to_it: int, from_it: int) -> None:
        self._to, self._from = to_it, from_it
        self._read, self._number = b"", 0
        self._tabs: dict[str, Tab] = {}
        self._loaded: set[str] = set()

    def open_tab(self) -> Tab:
        """An empty page, whose requests and complaints are noted from the start."""
        target = self.call("Target.createTarget", {"url": "about:blank"})["targetId"]
        answer = self.call("Target.attachToTarget", {"targetId": target, "flatten": True})
        tab = self._tabs[answer["sessionId"]] = Tab(self, answer["sessionId"])
        for domain in ("Page", "Network", "Runtime", "Log", "Accessibility"):
            tab.call(f"{domain}.enable")
        return tab

    def call(self, method: str, params: dict[str, Any], tab: Tab | None = None) -> dict[str, Any]:
        """Send one command and wait for its answer; events that come before it are noted."""
        self._number += 1
        number = self._number
        message: dict[str, Any] = {"id": number, "method": method, "params": params}
        if tab:
            message["sessionId"] = tab.session
        sent = json.dumps(message).encode() + b"\0"
        while sent:
            sent = sent[os.write(self._to, sent) :]
        while True:
            answer = self._next(f"its answer to {method}")
            if answer.get("id") != number:
                continue
            if "error" in answer:
                raise SetupError(f"Chromium refused {method}: {answer['error']}")
            result: dict[str, Any] = answer["result"]
            return result

    def wait_until_loaded(self, tab: Tab) -> None:
        """Wait for the load event of the page that the tab was sent to."""
        while tab.session not in self._loaded:
            self._next("the page")
        self._loaded.discard(tab.session)

    def _next(self, what: str) -> dict[str, Any]:
        deadline = time.monotonic() + ANSWER_S
        while b"\0" not in self._read:
            left = deadline - time.monotonic()
            ready, _, _ = select.select([self._from], [], [], max(0.0, left))
            more = os.read(self._from, 1 << 20) if ready else b""
            if not more:
                why = "it has ended" if ready else f"nothing for {ANSWER_S:.0f} s"
                raise SetupError(
                    f"Chromium did not give {what}: {why}.",
                    resolution="see what it says: chromium --headless --no-sandbox about:blank",
                )
            self._read += more
        line, _, self._read = self._read.partition(b"\0")
        message: dict[str, Any] = json.loads(line)
        self._note(message)
        return message

    def _note(self, message: dict[str, Any]) -> None:
        tab = self._tabs.get(message.get("sessionId", ""))
        if tab is None:
            return
        method, params = message.get("method"), message.get("params", {})
        if method == "Page.loadEventFired":
            self._loaded.add(tab.session)
        elif method == "Network.requestWillBeSent":
            tab.requests.append(params["request"]["url"])
        elif method == "Log.entryAdded":
            tab.complaints.append(params["entry"]["text"])
        elif method == "Runtime.consoleAPICalled":
            tab.complaints.append(json.dumps(params["args"]))
        elif method == "Runtime.exceptionThrown":
            tab.complaints.append(params["exceptionDetails"]["text"])


def get_chromium() -> str:
    """The path of a Chromium on PATH; raises `SetupError` where there is none."""
    found = find_chromium()
    if found is None:
        raise SetupError(
            f"There is no Chromium on PATH ({', '.join(BROWSERS)}).",
            resolution="`make setup` as root on Debian installs it; else install one by hand",
        )
    return found


@contextlib.contextmanager
def open_browser() -> Iterator[Browser]:
    """A Chromium without a window, with an empty profile, that can reach nothing but files."""
    executable = get_chromium()
    with contextlib.ExitStack() as undo:
        profile = undo.enter_context(
            tempfile.TemporaryDirectory(prefix="chromium-", ignore_cleanup_errors=True)
        )
        (read_by_it, to_it), (from_it, written_by_it) = _create_pipe(), _create_pipe()
        for end in (to_it, from_it):
            undo.callback(os.close, end)
        home = {"HOME": profile, "XDG_CONFIG_HOME": profile, "XDG_CACHE_HOME": profile}
        process = subprocess.Popen(
            ["bash", "-c", f'exec "$@" 3<&{read_by_it} 4>&{written_by_it}', "bash",
             executable, *FLAGS, f"--user-data-dir={profile}", "about:blank"],
            pass_fds=(read_by_it, written_by_it),
            env=dict(os.environ) | home,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # its helpers end with it
        )  # fmt: skip
        for end in (read_by_it, written_by_it):
            os.close(end)
        try:
            yield Browser(to_it, from_it)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _create_pipe() -> tuple[int, int]:
    """The reading and the writing end, with numbers that are not among those a browser uses."""
    low = os.pipe()
    reading, writing = (fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 10) for end in low)
    for end in low:
        os.close(end)
    return reading, writing
