"""The real alpaca-py clients against the loopback exchange: every answer loads in their models."""

import queue
import threading
from datetime import UTC, date, datetime

import pytest
from alpaca.common.exceptions import APIError
from alpaca.data.enums import DataFeed
from alpaca.data.historical.corporate_actions import CorporateActionsClient
from alpaca.data.historical.stock import StockHistoricalDataClient
from alpaca.data.requests import (
    CorporateActionsRequest,
    StockBarsRequest,
    StockLatestBarRequest,
    StockSnapshotRequest,
)
from alpaca.data.timeframe import TimeFrame
from alpaca.trading.client import TradingClient
from alpaca.trading.enums import OrderSide, OrderStatus, QueryOrderStatus, TimeInForce
from alpaca.trading.models import TradeUpdate
from alpaca.trading.requests import (
    ClosePositionRequest,
    GetAssetsRequest,
    GetCalendarRequest,
    GetOrdersRequest,
    GetPortfolioHistoryRequest,
    LimitOrderRequest,
    MarketOrderRequest,
    ReplaceOrderRequest,
    StopOrderRequest,
)
from alpaca.trading.stream import TradingStream

from brokers.exchange.exchange import Exchange
from engine.clock import FakeClock
from engine.sources import DataSettings, load
from tests.small_exchange import SESSIONS, served, small_bars, small_exchange

LATE = datetime(2024, 12, 6, 21, 20, tzinfo=UTC)
LONG_AGO = datetime(1999, 1, 1, tzinfo=UTC)
EVER = datetime(2024, 1, 1, tzinfo=UTC)


@pytest.fixture
def client():
    with served() as client:
        yield client


def sdk(kind, client, **more):
    exchange = client.server.exchange
    made = kind(exchange.key_id, exchange.secret, url_override=client.server.url, **more)
    made._session.trust_env = False
    return made


@pytest.fixture
def trading(client):
    return sdk(TradingClient, client, paper=True)


def market(symbol="AAA", qty=10.0, side=OrderSide.BUY, **more):
    return MarketOrderRequest(
        symbol=symbol, qty=qty, side=side, time_in_force=TimeInForce.DAY, **more
    )


def evening(client):
    client.control("POST", "clock", next="close", minutes=20)


def test_an_order_lives_from_submission_to_fill_in_the_sdks_models(client, trading):
    sent = trading.submit_order(market(client_order_id="mine-1"))
    assert (sent.client_order_id, sent.qty, sent.filled_qty) == ("mine-1", "10", "0")
    evening(client)
    filled = trading.get_order_by_id(sent.id)
    assert filled.status == OrderStatus.FILLED
    assert float(filled.filled_avg_price) == 102.0  # the open of the third session
    assert trading.get_order_by_client_id("mine-1").id == sent.id
    (position,) = trading.get_all_positions()
    assert (position.symbol, position.qty, float(position.cost_basis)) == ("AAA", "10", 1020.0)
    assert trading.get_open_position("AAA").asset_id == position.asset_id
    assert float(trading.get_account().cash) == 100_000.0 - 1020.0


def test_account_clock_calendar_and_assets_load(trading):
    account = trading.get_account()
    assert account.account_number.startswith("PA")
    assert float(account.equity) == 100_000.0
    now = trading.get_clock()
    assert (now.is_open, now.next_open) == (False, datetime(2024, 11, 27, 14, 30, tzinfo=UTC))
    days = trading.get_calendar(GetCalendarRequest(start=date(2024, 11, 27), end=date(2024, 12, 2)))
    assert [str(day.date) for day in days] == ["2024-11-27", "2024-11-29", "2024-12-02"]
    assert [day.close.hour for day in days] == [16, 13, 16]
    assert {asset.symbol for asset in trading.get_all_assets(GetAssetsRequest())} >= {"AAA", "BBB"}
    assert trading.get_asset("AAA").tradable
    assert trading.get_account_configurations().no_shorting is False
    assert trading.get_portfolio_history(GetPortfolioHistoryRequest()).timeframe == "1D"


def test_orders_are_listed_replaced_and_canceled(client, trading):
    rest = {"side": OrderSide.BUY, "time_in_force": TimeInForce.GTC}
    limit = trading.submit_order(LimitOrderRequest(symbol="AAA", qty=2, limit_price=10, **rest))
    trading.submit_order(StopOrderRequest(symbol="BBB", qty=1, stop_price=500, **rest))
    evening(client)
    new = trading.replace_order_by_id(limit.id, ReplaceOrderRequest(qty=3, limit_price=11))
    assert (str(new.replaces), new.qty) == (str(limit.id), "3")
    trading.cancel_order_by_id(new.id)
    (answer,) = trading.cancel_orders()
    assert answer.status == 200
    every = trading.get_orders(GetOrdersRequest(status=QueryOrderStatus.ALL))
    assert {order.status for order in every} <= {OrderStatus.REPLACED, OrderStatus.CANCELED}
    assert trading.get_orders() == []


def test_positions_are_closed_in_part_and_whole(client, trading):
    trading.submit_order(market())
    trading.submit_order(market("CCC", 100.0))
    evening(client)
    part = trading.close_position("AAA", ClosePositionRequest(qty="4"))
    assert (part.side, part.qty) == (OrderSide.SELL, "4")
    evening(client)
    closed = trading.close_all_positions(cancel_orders=True)
    assert {answer.symbol for answer in closed} == {"AAA", "CCC"}
    evening(client)
    assert trading.get_all_positions() == []


def test_fills_are_listed_as_activities(client, trading):
    trading.submit_order(market())
    evening(client)
    (fill,) = trading.get("/account/activities", {"activity_types": "FILL"})
    assert (fill["symbol"], fill["qty"], fill["price"]) == ("AAA", "10", "102")


def test_refusals_arrive_as_errors_of_the_api(trading):
    with pytest.raises(APIError) as poor:
        trading.submit_order(market(qty=1e6))
    assert (poor.value.status_code, poor.value.code) == (403, 40310000)
    trading.submit_order(market(client_order_id="once"))
    with pytest.raises(APIError) as twice:
        trading.submit_order(market(client_order_id="once"))
    assert (twice.value.status_code, twice.value.code) == (422, 40010001)
    with pytest.raises(APIError) as unknown:
        trading.get_open_position("BBB")
    assert unknown.value.status_code == 404


def test_daily_bars_are_the_same_numbers_page_by_page():
    with served(exchange=small_exchange(LATE)) as client:
        data = sdk(StockHistoricalDataClient, client)
        request = StockBarsRequest(
            symbol_or_symbols=["AAA", "BBB"], timeframe=TimeFrame.Day, start=EVER, feed=DataFeed.IEX
        )
        found = data.get_stock_bars(request)
        assert client.server.faults.counts == {"GET /v2/stocks/bars": 1}
    bars = small_bars()
    for n, symbol in enumerate(("AAA", "BBB")):
        rows = [[b.open, b.high, b.low, b.close, b.volume] for b in found[symbol]]
        assert rows == bars.ohlcv[bars.traded[:, n], n].tolist()
    assert [str(bar.timestamp.date()) for bar in found["AAA"]] == list(SESSIONS)
    assert len(found.df) == 17


def test_sdk_follows_pages_to_the_end():
    bars = load(DataSettings(source="sample"))
    clock = FakeClock(datetime(2013, 3, 1, 21, 20, tzinfo=UTC))
    with served(exchange=Exchange(bars, clock, start=date(2013, 2, 1))) as client:
        request = StockBarsRequest(
            symbol_or_symbols=list(bars.symbols), timeframe=TimeFrame.Day, start=LONG_AGO
        )
        found = sdk(StockHistoricalDataClient, client, raw_data=True).get_stock_bars(request)
        assert client.server.faults.counts == {"GET /v2/stocks/bars": 2}  # 10,000 and the rest
    for n, symbol in enumerate(bars.symbols):
        rows = [[bar[key] for key in "ohlcv"] for bar in found[symbol]]
        assert rows == bars.ohlcv[bars.traded[:, n], n].tolist()


def test_latest_bars_snapshots_and_corporate_actions_load():
    with served(exchange=small_exchange(LATE)) as client:
        data = sdk(StockHistoricalDataClient, client)
        latest = data.get_stock_latest_bar(StockLatestBarRequest(symbol_or_symbols="AAA"))
        snapshot = data.get_stock_snapshot(StockSnapshotRequest(symbol_or_symbols="AAA"))["AAA"]
        assert snapshot.daily_bar == latest["AAA"]
        assert snapshot.latest_trade.price == latest["AAA"].close
        assert snapshot.previous_daily_bar.timestamp.day == 5
        actions = sdk(CorporateActionsClient, client).get_corporate_actions(
            CorporateActionsRequest(start=date(2024, 11, 1), end=date(2024, 12, 31))
        )
    told = {kind: [x.symbol for x in rows] for kind, rows in actions.data.items()}
    assert told == {
        "forward_splits": ["AAA"],
        "reverse_splits": ["CCC"],
        "cash_dividends": ["BBB"],
    }


class Heard(TradingStream):
    """The real stream client; says when it listens, and keeps what it hears."""

    def __init__(self, *args, **more):
        super().__init__(*args, **more)
        self.ready = threading.Event()
        self.updates = queue.Queue()
        self.subscribe_trade_updates(self._keep)

    async def _keep(self, update):
        self.updates.put(update)

    async def _dispatch(self, msg):
        if msg.get("stream") == "listening":
            self.ready.set()
        await super()._dispatch(msg)


def test_trade_updates_reach_the_real_stream_client(client, trading):
    exchange = client.server.exchange
    stream = Heard(exchange.key_id, exchange.secret, url_override=client.server.ws_url)
    thread = threading.Thread(target=stream.run, daemon=True)
    thread.start()
    try:
        assert stream.ready.wait(10)
        trading.submit_order(market(client_order_id="heard-1"))
        evening(client)
        heard = []
        while not heard or heard[-1].event != "fill":
            heard.append(stream.updates.get(timeout=10))
        assert all(isinstance(update, TradeUpdate) for update in heard)
        assert {update.order.client_order_id for update in heard} == {"heard-1"}
        last = heard[-1]
        assert (last.qty, last.price, last.position_qty) == (10.0, 102.0, 10.0)
        assert last.order.status == OrderStatus.FILLED
    finally:
        stream.stop()
        client.server.stop()  # ends the client's wait for the next frame
        thread.join(10)
    assert not thread.is_alive()
