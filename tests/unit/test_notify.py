"""Messages to a person: real apprise, to a loopback server; what it may and may not show."""

import logging
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from engine.errors import SettingsError, UsageError
from engine.run.schedule.notify import VARIABLE, AppriseNotifier, LogNotifier, addresses, notifier

# apprise imports what Python 3.13 drops, with a replacement at hand.
pytestmark = pytest.mark.filterwarnings("ignore:'imghdr':DeprecationWarning")

TOKEN = "canary-token-4711"


@pytest.fixture
def inbox():
    """A server that keeps what is posted to it; answers 500 while `broken` holds anything."""
    posted, broken = [], []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            posted.append(self.rfile.read(int(self.headers["Content-Length"])).decode())
            self.send_response(500 if broken else 200)
            self.end_headers()

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield f"json://127.0.0.1:{server.server_port}/{TOKEN}", posted, broken
    server.shutdown()
    server.server_close()
    thread.join()


def test_without_addresses_every_message_is_a_warning_in_the_log(caplog):
    notify = notifier({})
    assert isinstance(notify, LogNotifier)
    notify.send("halted: cash differs by 100%")
    assert [(r.levelname, r.getMessage()) for r in caplog.records] == [
        ("WARNING", "halted: cash differs by 100%")
    ]


def test_a_message_reaches_every_address_and_starts_with_paper(inbox, caplog):
    url, posted, _ = inbox
    notifier({VARIABLE: f"{url}/one  {url}/two"}).send("halted: 50 % <b>")
    assert len(posted) == 2
    assert all('"message": "PAPER halted: 50 % <b>"' in text for text in posted)
    assert "halted: 50 % <b>" in caplog.text


def test_an_address_that_refuses_is_named_by_number_and_never_shown(inbox, caplog, capfd):
    url, posted, broken = inbox
    broken.append(True)
    caplog.set_level(logging.DEBUG)
    AppriseNotifier((url,)).send("halted")
    assert len(posted) == 1
    assert f"notification to address 1 of {VARIABLE}: refused" in caplog.text
    ours = [r.getMessage() for r in caplog.records if not r.name.startswith("urllib3")]
    assert TOKEN not in " ".join([*ours, *capfd.readouterr()])


def test_a_plug_in_that_raises_does_not_reach_the_caller(inbox, caplog, monkeypatch):
    notify = AppriseNotifier((inbox[0],))

    def fail(*_, **__):
        raise RuntimeError(f"cannot reach {TOKEN}")

    monkeypatch.setattr(notify._targets[0], "notify", fail)
    notify.send("halted")
    assert "notification to address 1 of BARWISE_NOTIFY: RuntimeError" in caplog.text
    assert TOKEN not in caplog.text


def test_an_address_that_cannot_be_used_is_refused_and_not_shown(caplog, capfd):
    with pytest.raises(SettingsError, match="address 2 of 2 is not an apprise URL") as caught:
        notifier({VARIABLE: f"json://127.0.0.1:1/x nonsense://{TOKEN}"})
    assert TOKEN not in str(caught.value) + caplog.text + "".join(capfd.readouterr())


def test_without_apprise_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "apprise", None)
    with pytest.raises(UsageError, match=r"barwise\[notify\]"):
        notifier({VARIABLE: "json://127.0.0.1:1/x"})


def test_addresses_come_from_one_variable_separated_by_blanks():
    assert addresses({VARIABLE: " a://b,c \n d://e\t"}) == ("a://b,c", "d://e")
    assert addresses({"OTHER": "a://b"}) == ()
