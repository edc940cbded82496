"""A headless Chromium, driven by the DevTools protocol over a pipe: the standard library is enough."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

FLAGS = (
    "--headless=new",
    "--no-sandbox",  # which root may not have
    "--remote-debugging-pipe",
    "--autoplay-policy=no-user-gesture-required",
    "--use-fake-ui-for-media-stream",
    "--use-fake-device-for-media-stream",
    "--hide-scrollbars",
    "--disable-gpu",
    "--no-first-run",
    "--mute-audio",
)
# Requests are refused before there is a look-up, so that a page that asks for something is found out.
OFFLINE = "--host-resolver-rules=MAP * ~NOTFOUND"


class PageError(Exception):
    """What a script in the page threw."""


class Chromium:
    """One page. Errors that it logs or throws are in `errors`, the addresses that it asks for in `requests`."""

    def __init__(self, folder: Path, flags: Sequence[str] = (), program: str = "chromium") -> None:
        self._folder, self._flags, self._program = folder, flags, program
        self.errors: list[str] = []
        self.requests: list[str] = []

    def __enter__(self) -> Self:
        there, self._write = os.pipe()
        self._read, back = os.pipe()
        # Chromium reads descriptor 3 and writes to 4.
        words = [shutil.which(self._program) or self._program, *FLAGS, OFFLINE, *self._flags]
        words += [f"--user-data-dir={self._folder}", "about:blank"]
        script = f'exec 3<&{there} 4>&{back}; exec "$@"'
        self._log = (self._folder.parent / f"{self._folder.name}.log").open("wb")
        self._process = subprocess.Popen(
            ["bash", "-c", script, "chromium", *words],
            pass_fds=(there, back),
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            start_new_session=True,
        )
        os.close(there)
        os.close(back)
        self._count, self._rest, self._session = 0, b"", ""
        (target,) = (one for one in self._call("Target.getTargets")["targetInfos"] if one["type"] == "page")
        attached = self._call("Target.attachToTarget", targetId=target["targetId"], flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self._call(f"{domain}.enable")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._session = ""
            self._call("Browser.close")
            self._process.wait(20)
        except (OSError, EOFError, subprocess.TimeoutExpired):
            os.killpg(self._process.pid, 9)
            self._process.wait()
        os.close(self._write)
        os.close(self._read)
        self._log.close()

    def open(self, address: str, *, width: int = 1280, height: int = 900, scale: float = 1) -> None:
        """Opens an address in a window of this size, in CSS pixels; returns when it is loaded."""
        self.resize(width, height, scale)
        self._loaded = False
        self._call("Page.navigate", url=address)
        while not self._loaded:
            self._take(self._receive())

    def resize(self, width: int, height: int, scale: float = 1) -> None:
        """Makes the window another size."""
        size = {"width": width, "height": height, "deviceScaleFactor": scale, "mobile": width < 600}
        self._call("Emulation.setDeviceMetricsOverride", **size)

    def version(self) -> str:
        """Which one it is."""
        return str(self._call("Browser.getVersion")["product"])

    def run(self, script: str) -> Any:
        """The value of an expression of JavaScript; of a promise, that which it comes to."""
        done = self._call(
            "Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True, userGesture=True
        )
        if "exceptionDetails" in done:
            details = done["exceptionDetails"]
            raise PageError(details.get("exception", {}).get("description") or details["text"])
        return done["result"].get("value")

    def wait(self, script: str, seconds: float = 60) -> Any:
        """The value of an expression once it is true."""
        end = time.monotonic() + seconds
        while not (value := self.run(script)):
            if time.monotonic() > end:
                raise TimeoutError(f"{script}; the page's errors: {self.errors}")
            time.sleep(0.1)
        return value

    def choose(self, selector: str, file: Path) -> None:
        """Gives a file to an input for files."""
        root = self._call("DOM.getDocument")["root"]["nodeId"]
        node = self._call("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        self._call("DOM.setFileInputFiles", nodeId=node, files=[str(file)])

    def dark(self, is_dark: bool) -> None:
        """What the page is told of the user's taste."""
        scheme = {"name": "prefers-color-scheme", "value": "dark" if is_dark else "light"}
        self._call("Emulation.setEmulatedMedia", features=[scheme])

    def key(self, key: str) -> None:
        """Types a key, such as Tab or Enter."""
        codes = {"Tab": 9, "Enter": 13, " ": 32, "ArrowRight": 39, "ArrowLeft": 37}
        shared = {"key": key, "code": "Space" if key == " " else key, "windowsVirtualKeyCode": codes[key]}
        text = {"Enter": {"text": "\r"}, " ": {"text": " "}}.get(key, {})
        self._call("Input.dispatchKeyEvent", type="keyDown", **shared, **text)
        self._call("Input.dispatchKeyEvent", type="keyUp", **shared)

    def accessibility(self) -> list[dict[str, Any]]:
        """The tree that a screen reader is given, flat."""
        nodes: list[dict[str, Any]] = self._call("Accessibility.getFullAXTree")["nodes"]
        return [node for node in nodes if not node.get("ignored")]

    def screenshot(self, path: Path, *, whole: bool = True) -> None:
        """A picture of the page, or of what is seen of it."""
        picture = self._call("Page.captureScreenshot", captureBeyondViewport=whole, format="png", **self._clip(whole))
        path.write_bytes(base64.b64decode(picture["data"]))

    def _clip(self, whole: bool) -> dict[str, Any]:
        if not whole:
            return {}
        size = self._call("Page.getLayoutMetrics")["cssContentSize"]
        return {"clip": {"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1}}

    def _call(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._count += 1
        message: dict[str, Any] = {"id": self._count, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        data = json.dumps(message).encode() + b"\0"
        while data:
            data = data[os.write(self._write, data) :]
        while True:
            found = self._receive()
            if found.get("id") == self._count:
                if "error" in found:
                    raise PageError(f"{method}: {found['error']['message']}")
                result: dict[str, Any] = found["result"]
                return result
            self._take(found)

    def _receive(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            data = os.read(self._read, 1 << 16)
            if not data:
                raise EOFError("Chromium ended")
            self._rest += data
        line, _, self._rest = self._rest.partition(b"\0")
        found: dict[str, Any] = json.loads(line)
        return found

    def _take(self, event: dict[str, Any]) -> None:
        parameters = event.get("params", {})
        match event.get("method"):
            case "Page.loadEventFired":
                self._loaded = True
            case "Runtime.exceptionThrown":
                details = parameters["exceptionDetails"]
                self.errors.append(details.get("exception", {}).get("description") or details["text"])
            case "Log.entryAdded" if parameters["entry"]["level"] == "error":
                self.errors.append(parameters["entry"]["text"])
            case "Network.requestWillBeSent":
                self.requests.append(parameters["request"]["url"])
