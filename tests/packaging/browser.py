"""Drive an installed Chromium over its debugging socket: enough to open one page and look at it."""

import base64
import json
import shutil
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path

from websockets.sync.client import connect

PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "chrome")
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--disable-dev-shm-usage", "--remote-debugging-port=0"),
)


def find():
    """Return the path of an installed Chromium, or None."""
    return next(filter(None, map(shutil.which, PROGRAMS)), None)


class Page:
    """One tab; every event it sent is kept in `events`."""

    def __init__(self, socket):
        self._socket, self._number, self.events = socket, 0, []

    def ask(self, method, **params):
        """Send a command and return its result."""
        self._number += 1
        self._socket.send(json.dumps({"id": self._number, "method": method, "params": params}))
        while True:
            answer = json.loads(self._socket.recv(timeout=60))
            if answer.get("id") != self._number:
                self.events.append(answer)
                continue
            if "error" in answer:
                raise RuntimeError(f"{method}: {answer['error']}")
            return answer["result"]

    def value(self, expression):
        """Return the value of a JavaScript expression."""
        found = self.ask(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        if "exceptionDetails" in found:
            raise RuntimeError(f"{expression}: {found['exceptionDetails']}")
        return found["result"].get("value")

    def open(self, address, width=1280, height=900, dark=False):
        """Open an address at a size and colour scheme, and wait until its charts are drawn."""
        phone = width < 600
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.ask(f"{domain}.enable")
        self.ask(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=2 if phone else 1,
            mobile=phone,
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.ask("Emulation.setEmulatedMedia", features=[scheme])
        self.ask("Page.navigate", url=address)
        until = time.monotonic() + 60
        while not self.value("document.documentElement && document.documentElement.dataset.charts"):
            if time.monotonic() > until:
                raise TimeoutError(f"{address}: no charts after 60 s; {self.complaints()}")
            time.sleep(0.1)
        self.value("new Promise(done => setTimeout(done, 300))")

    def complaints(self):
        """Return every console error, warning, uncaught exception and refused request so far."""
        loud = []
        for event in self.events:
            name, params = event.get("method", ""), event.get("params", {})
            if name == "Runtime.exceptionThrown":
                loud.append(str(params["exceptionDetails"]))
            elif name == "Runtime.consoleAPICalled" and params["type"] in ("error", "warning"):
                loud.append(str(params["args"]))
            elif name == "Log.entryAdded" and params["entry"]["level"] in ("error", "warning"):
                loud.append(params["entry"]["text"])
        return loud

    def requests(self):
        """Return the address of every request the page made."""
        sent = [e["params"] for e in self.events if e.get("method") == "Network.requestWillBeSent"]
        return [params["request"]["url"] for params in sent]

    def picture(self, path: Path, whole=True):
        """Save a PNG of the page."""
        shot = self.ask("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(shot["data"]))


@contextmanager
def page(profile: Path):
    """Start Chromium with a new profile in `profile`, and close it at the end."""
    command = [find(), *FLAGS, f"--user-data-dir={profile}", "about:blank"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as child:
        try:
            yield from _tab(profile / "DevToolsActivePort")
        finally:
            child.terminate()
            try:
                child.wait(timeout=20)
            except subprocess.TimeoutExpired:
                child.kill()


def _tab(file: Path):
    until = time.monotonic() + 60
    while not file.is_file() or len(file.read_text().split()) < 2:
        if time.monotonic() > until:
            raise TimeoutError("the browser did not start in 60 s")
        time.sleep(0.05)
    port, path = file.read_text().split()
    with connect(f"ws://127.0.0.1:{port}{path}", max_size=None) as browser:
        tabs = Page(browser).ask("Target.getTargets")["targetInfos"]
        target = next(tab["targetId"] for tab in tabs if tab["type"] == "page")
    with connect(f"ws://127.0.0.1:{port}/devtools/page/{target}", max_size=None) as socket:
        yield Page(socket)
