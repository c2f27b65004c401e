"""Fetch, cache and load through the real SDK against the loopback exchange, as a person does it."""

import json
import os
import signal
import subprocess
import sys
from contextlib import contextmanager
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from brokers.alpaca import gateway as gateway_module
from brokers.alpaca.bars import download
from brokers.alpaca.gateway import Gateway
from brokers.alpaca.keys import KEY_ID, SECRET, Keys
from brokers.exchange.exchange import Exchange
from brokers.exchange.faults import Faults, Rule
from brokers.exchange.server import serve
from engine.cli import run
from engine.clock import FakeClock
from engine.data.cache import Cache
from engine.errors import VenueUnavailable
from engine.run.fetch import fetch
from engine.settings_paper import PaperSettings
from engine.sources import DataSettings, load

FIRST, LAST = date(2004, 6, 1), date(2005, 4, 29)  # a listing, a 2:1 split, a special dividend
MARKET = load(DataSettings()).between(FIRST, LAST)
BARS = "/v2/stocks/bars"
ACTIONS = "/v1/corporate-actions"


class Desk:
    """A served exchange, all of whose sessions have closed, and a gateway to it."""

    def __init__(self, server, clock):
        self.server, self.clock = server, clock
        self.exchange, self.faults = server.exchange, server.faults
        settings = PaperSettings(trading_url=server.url, data_url=server.url)
        keys = Keys(server.exchange.key_id, server.exchange.secret)
        self.gateway = Gateway(settings, keys, clock)

    def requests(self, path):
        return [seen for seen in self.faults.log if seen.path == path]


@contextmanager
def desk(*rules):
    clock = FakeClock(datetime(2005, 5, 2, 12, 0, tzinfo=UTC))
    exchange = Exchange(MARKET, clock, start=LAST)
    with serve(exchange, Faults(list(rules))) as server:
        one = Desk(server, clock)
        with one.gateway:
            yield one


def fetched(one, cache, symbols=MARKET.symbols, again=False):
    return list(fetch(one.gateway, cache, "iex", symbols, FIRST, LAST, one.clock, again))


def read(cache):
    return load(DataSettings(source="alpaca", cache=str(cache.root), symbols=MARKET.symbols))


@pytest.fixture
def cache(tmp_path):
    return Cache(tmp_path / "kept", "alpaca:iex")


def test_fetch_cache_and_load_give_what_the_exchange_serves_bit_for_bit(cache):
    with desk() as one:
        fetched(one, cache)
        direct = download(one.gateway, MARKET.symbols, FIRST, LAST, "iex", one.clock)
    assert read(cache).digest() == MARKET.digest()
    assert direct.digest() == MARKET.digest()
    assert float(MARKET.split.max()) == 2.0
    assert (MARKET.dividend > 0).sum() == 6
    assert not MARKET.traded.all()  # Google lists in August


@pytest.mark.parametrize("limit", [7, 100])
def test_small_pages_give_the_same_bits(limit, monkeypatch):
    monkeypatch.setattr(gateway_module, "_BARS_PAGE", limit)
    monkeypatch.setattr(gateway_module, "_ACTIONS_PAGE", 3)
    with desk() as one:
        found = download(one.gateway, MARKET.symbols, FIRST, LAST, "iex", one.clock)
        pages = len(one.requests(BARS)), len(one.requests(ACTIONS))
    assert found.digest() == MARKET.digest()
    events = int((MARKET.split != 1).sum() + (MARKET.dividend > 0).sum())
    assert pages == (-(-int(MARKET.traded.sum()) // limit), -(-events // 3))


def test_a_500_in_the_middle_repeats_its_page_only(monkeypatch):
    monkeypatch.setattr(gateway_module, "_BARS_PAGE", 100)
    rule = Rule(action="status", method="GET", path=BARS, nth=4, times=2, status=500)
    with desk(rule) as one:
        found = download(one.gateway, MARKET.symbols, FIRST, LAST, "iex", one.clock)
        pages = [seen.query for seen in one.requests(BARS)]
    assert found.digest() == MARKET.digest()
    assert pages[3] == pages[4] == pages[5]
    assert len(pages) == len(set(pages)) + 2


def test_the_feed_and_raw_prices_are_asked_for_by_name():
    with desk() as one:
        download(one.gateway, ("IBM",), FIRST, LAST, "iex", one.clock)
        (seen,) = one.requests(BARS)
    assert "feed=iex" in seen.query
    assert "adjustment=raw" in seen.query


def test_a_server_that_stays_down_keeps_what_was_stored_and_the_next_fetch_goes_on(cache):
    rule = Rule(action="status", method="GET", path=BARS, nth=3, times=0, status=503)
    with desk(rule) as one, pytest.raises(VenueUnavailable):
        fetched(one, cache)
    assert list(cache.manifest().symbols) == ["AAPL", "GOOG"]
    with desk() as one:
        fetched(one, cache)
        assert [seen.query.split("symbols=")[1][:3] for seen in one.requests(BARS)] == [
            "IBM",
            "MSF",
        ]
    assert read(cache).digest() == MARKET.digest()


def test_a_bar_that_the_exchange_revises_is_recorded(cache):
    with desk() as one:
        fetched(one, cache, ("IBM",))
        one.exchange.revise_bar("IBM", date(2005, 4, 20), 1.01)
        (told,) = fetched(one, cache, ("IBM",), again=True)
    assert {str(r.session) for r in told.revisions} == {"2005-04-20"}
    assert {r.field for r in told.revisions} >= {"open", "high", "low", "close"}
    close = next(r for r in told.revisions if r.field == "close")
    assert close.new == pytest.approx(close.old * 1.01)


# The command itself


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["IBM", "--from", "2020-01-02", "--to", "2019-01-02"], "is after --to 2019-01-02"),
        (["--from", "2020-01-02", "--to", "2021-01-04"], "expected symbols, or a --config"),
        (["../IBM", "--from", "2020-01-02", "--to", "2021-01-04"], "expected a ticker"),
        (["IBM", "--from", "2020-02-30", "--to", "2021-01-04"], "does not match the format"),
        (["IBM", "--from", "2020-01-02", "--to", "2021-01-04", "--feed", "x"], "data.feed"),
        (["IBM", "--from", "2020-01-02", "--to", "2021-01-04"], "no Alpaca paper key found"),
    ],
)
def test_wrong_use_ends_with_two_and_says_what_to_do(words, said, monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    for name in (KEY_ID, SECRET):
        monkeypatch.delenv(name, raising=False)
    assert run(["data", "fetch", *words]) == 2
    assert said in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_bad_data_ends_the_command_with_one_and_the_other_symbols_are_kept(
    monkeypatch, capsys, tmp_path
):
    monkeypatch.chdir(tmp_path)
    with desk() as one:
        for name, value in command(one.server)[1].items():
            monkeypatch.setenv(name, value)
        words = ["NONE" if word == "AAPL" else word for word in command(one.server)[0][3:]]
        assert run(words) == 1
    told = capsys.readouterr()
    assert "1/4 NONE: alpaca:iex has no bar from 2004-06-01 to 2005-04-29" in told.err
    assert told.out == f"3 of 4 symbols of alpaca:iex in {Path('cache') / 'alpaca-iex'}\n"


def command(server, *more):
    keys = {KEY_ID: server.exchange.key_id, SECRET: server.exchange.secret}
    words = [
        "data",
        "fetch",
        "AAPL",
        "GOOG",
        "IBM",
        "MSFT",
        "--from",
        str(FIRST),
        "--to",
        str(LAST),
    ]
    hosts = ["--set", f"paper.data_url={server.url}", "--set", f"paper.trading_url={server.url}"]
    code = "from engine.cli import main; main()"
    return [sys.executable, "-c", code, *words, *hosts, *more], os.environ | keys


def test_the_command_fetches_and_a_killed_one_is_resumed(tmp_path):
    rule = Rule(action="hang", method="GET", path=BARS, nth=3, times=1)
    cache = Cache(tmp_path / "kept", "alpaca:iex")
    with desk(rule) as one:
        words, environment = command(one.server, "--cache", str(cache.root))
        with subprocess.Popen(
            words,
            env=environment,
            cwd=tmp_path,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        ) as running:
            for line in running.stderr:
                if line.startswith("2/4"):
                    running.send_signal(signal.SIGKILL)
                    break
        assert running.returncode == -signal.SIGKILL
        assert list(cache.manifest().symbols) == ["AAPL", "GOOG"]
        done = subprocess.run(
            [*words, "--json"],
            env=environment,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=120,
        )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert [one["asked"] is None for one in told["symbols"]] == [True, True, False, False]
    assert read(cache).digest() == MARKET.digest()
    assert environment[SECRET] not in done.stdout + done.stderr
