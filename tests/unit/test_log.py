"""The log of a long-running command."""

import logging
import stat

import pytest

from engine.clock import FakeClock
from engine.run import log
from tests.looks import utc

SECRET = "canary-secret-4711"


@pytest.fixture
def clock():
    return FakeClock(utc("2019-03-05 21:20"))


def test_a_line_tells_the_clocks_time_and_says_paper(tmp_path, clock, capsys):
    with log.log_to(tmp_path, clock) as path:
        logging.getLogger("barwise.schedule").info("look %d", 1)
        clock.sleep(60)
        logging.getLogger("engine.anything").warning("two")
    lines = [
        "2019-03-05T21:20:00Z PAPER INFO barwise.schedule: look 1",
        "2019-03-05T21:21:00Z PAPER WARNING engine.anything: two",
    ]
    assert path.read_text().splitlines() == lines
    assert capsys.readouterr().err.splitlines() == lines


def test_an_event_is_one_line_whatever_it_holds(tmp_path, clock):
    with log.log_to(tmp_path, clock) as path:
        logging.getLogger("barwise").info("a\nPAPER forged\r\nb\x0bc\u2028d")
        try:
            raise ValueError("inside")
        except ValueError:
            logging.getLogger("barwise").exception("failed")
    first, second = path.read_text().splitlines()
    assert first.endswith("barwise: a | PAPER forged | b | c | d")
    assert "failed | Traceback" in second
    assert second.endswith("ValueError: inside")


def test_secrets_are_blotted_out_of_messages_arguments_and_tracebacks(tmp_path, clock, capsys):
    with log.log_to(tmp_path, clock, [SECRET]) as path:
        logger = logging.getLogger("brokers.alpaca")
        logger.info("key " + SECRET)
        logger.info("key %s", SECRET)
        try:
            raise ValueError(SECRET)
        except ValueError:
            logger.exception("failed")
    written = path.read_text() + capsys.readouterr().err
    assert SECRET not in written
    assert written.count("[hidden]") == 6  # three lines, in two places


def test_a_line_that_cannot_be_made_shows_neither_message_nor_arguments(tmp_path, clock, capsys):
    with log.log_to(tmp_path, clock, [SECRET]):
        record = logging.makeLogRecord({"name": "barwise", "msg": "%s", "args": (SECRET, "more")})
        for handler in logging.getLogger().handlers:
            if isinstance(handler, log._Discreet):  # pytest's own handler raises instead
                handler.handle(record)
    err = capsys.readouterr().err
    assert SECRET not in err
    assert err.count("PAPER a line of barwise cannot be logged: TypeError") == 2


def test_libraries_speak_from_warnings_on_and_everything_is_undone_at_the_end(tmp_path, clock):
    root = logging.getLogger()
    before = list(root.handlers), logging.getLogger("barwise").level
    with log.log_to(tmp_path, clock) as path:
        logging.getLogger("apscheduler.scheduler").info("quiet")
        logging.getLogger("apscheduler.scheduler").warning("loud")
    assert [line.split(": ")[1] for line in path.read_text().splitlines()] == ["loud"]
    assert (list(root.handlers), logging.getLogger("barwise").level) == before


def test_the_file_is_private_and_rolled_over_before_it_grows_large(tmp_path, clock, monkeypatch):
    monkeypatch.setattr(log, "_LARGEST_BYTES", 500)
    with log.log_to(tmp_path / "state", clock) as path:
        for number in range(100):
            logging.getLogger("barwise").info("line %d", number)
    files = sorted(p.name for p in path.parent.iterdir())
    assert files == ["paper.log", *(f"paper.log.{n}" for n in range(1, 6))]
    assert all(p.stat().st_size <= 500 for p in path.parent.iterdir())
    assert {stat.S_IMODE(p.stat().st_mode) for p in path.parent.iterdir()} == {0o600}
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
