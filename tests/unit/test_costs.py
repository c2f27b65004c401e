"""Costs: commission, slippage, regulatory fees; every number worked out by hand."""

import numpy as np
import pytest

from engine.costs import ALPACA, Costs, CostsByBook
from engine.errors import SettingsError
from engine.fees_us import FINRA_TAF, SEC_31, TRUSTED_FROM, regulatory_fee

DAY = np.datetime64("2024-06-03", "D")


def fee_of(costs, qty, price, day=DAY):
    return float(costs.fee(np.array([[qty]]), np.array([[price]]), np.array([[day]]))[0, 0])


def test_rate_is_a_fraction_of_the_traded_value_on_both_sides():
    costs = Costs(rate=0.001)
    assert fee_of(costs, 100.0, 50.0) == pytest.approx(5.0)  # 100 * 50 * 0.001
    assert fee_of(costs, -100.0, 50.0) == pytest.approx(5.0)


def test_per_share_and_per_order_add_up():
    costs = Costs(per_share=0.005, per_order=1.0)
    assert fee_of(costs, -300.0, 20.0) == pytest.approx(2.5)  # 300 * 0.005 + 1


def test_minimum_binds_only_below_it():
    costs = Costs(per_share=0.005, minimum=1.0)
    assert fee_of(costs, 10.0, 20.0) == pytest.approx(1.0)  # 0.05 raised to 1
    assert fee_of(costs, 1000.0, 20.0) == pytest.approx(5.0)


def test_no_shares_cost_nothing_even_with_a_minimum_and_without_a_price():
    costs = Costs(rate=0.001, per_order=1.0, minimum=2.0, regulatory=True)
    assert fee_of(costs, 0.0, np.nan) == 0.0


def test_slippage_moves_the_price_against_the_order():
    costs = Costs(slippage_bps=10.0)
    price = costs.slipped(np.array([50.0, 50.0, 50.0]), np.array([3.0, -3.0, 0.0]))
    assert price == pytest.approx([50.05, 49.95, 50.0])  # 10 bps of 50 = 0.05


def test_regulatory_fees_are_taken_from_sales_only():
    costs = Costs(regulatory=True)
    # 1000 shares at 100 on 2024-06-03: 100,000 * 27.80 / 1e6 = 2.78; 1000 * 0.000166 = 0.166
    assert fee_of(costs, -1000.0, 100.0) == pytest.approx(2.946)
    assert fee_of(costs, 1000.0, 100.0) == 0.0


def test_activity_fee_stops_at_its_cap():
    # 100,000 shares at 1: 100,000 * 27.80 / 1e6 = 2.78; the TAF of 16.60 is capped at 8.30
    assert fee_of(Costs(regulatory=True), -100_000.0, 1.0) == pytest.approx(11.08)


def test_regulatory_rate_changes_on_its_first_day():
    costs = Costs(regulatory=True)
    before = fee_of(costs, -1000.0, 100.0, np.datetime64("2025-05-13"))
    after = fee_of(costs, -1000.0, 100.0, np.datetime64("2025-05-14"))
    assert before == pytest.approx(2.946)
    assert after == pytest.approx(0.166)  # the SEC's part is zero from that day


def test_regulatory_tables_run_forward_and_begin_at_the_trusted_date():
    for table in (SEC_31, FINRA_TAF):
        days = [row[0] for row in table]
        assert days == sorted(days)
        assert np.datetime64(days[0], "D") == TRUSTED_FROM


def test_sale_before_the_table_pays_the_rate_of_its_first_row():
    early = regulatory_fee(np.array([-100.0]), np.array([10.0]), np.array(["2001-03-01"], "M8[D]"))
    assert early == pytest.approx([1000 * 16.90e-6 + 100 * 0.000075])


def test_parts_add_up_to_the_fee():
    costs = Costs(rate=0.0005, per_order=0.5, regulatory=True)
    qty, price = np.array([[-40.0, 25.0]]), np.array([[12.0, 80.0]])
    parts = costs.parts(qty, price, np.array([[DAY]]))
    assert parts.commission + parts.regulatory == pytest.approx(
        costs.fee(qty, price, np.array([[DAY]]))
    )
    assert parts.regulatory[0, 1] == 0.0


def test_alpaca_preset_takes_no_fee():
    assert fee_of(ALPACA, -500.0, 80.0) == 0.0


def test_negative_and_absurd_costs_are_refused():
    with pytest.raises(ValueError, match="greater than or equal to 0"):
        Costs(rate=-0.001)
    with pytest.raises(ValueError, match=r"less than 0\.1"):
        Costs(rate=1.0)
    with pytest.raises(ValueError, match="Extra inputs"):
        Costs(fee_rate=0.001)


EACH = (
    Costs(),
    Costs(rate=0.001, slippage_bps=0.0),
    Costs(per_share=0.005, per_order=1.0, slippage_bps=25.0),
    Costs(rate=0.0005, minimum=2.5),
)


@pytest.mark.parametrize("regulatory", [False, True])
def test_each_of_several_books_pays_what_its_own_costs_take(regulatory):
    each = tuple(costs.model_copy(update={"regulatory": regulatory}) for costs in EACH)
    rng = np.random.default_rng(0)
    for _ in range(50):
        qty = np.trunc(rng.normal(0, 100, (4, 5))) * rng.integers(0, 2, (4, 5))
        price = np.where(rng.random((1, 5)) < 0.2, np.nan, rng.uniform(1, 500, (1, 5)))
        qty = np.where(np.isnan(price), 0.0, qty)
        day = np.full((4, 1), DAY)
        together = CostsByBook(each)
        for at, costs in enumerate(each):
            own, row = qty[at : at + 1], day[at : at + 1]
            assert np.array_equal(together.fee(qty, price, day)[at], costs.fee(own, price, row)[0])
            slipped = costs.slipped(price, own)
            assert np.array_equal(together.slipped(price, qty)[at], slipped[0], equal_nan=True)


def test_books_agree_on_regulatory_fees_or_are_refused():
    with pytest.raises(SettingsError, match="regulatory fees or none, found \\[False, True\\]"):
        CostsByBook((Costs(), Costs(regulatory=True)))
    with pytest.raises(SettingsError, match="one or more"):
        CostsByBook(())
