"""Assembling a paper account: what is missing or cannot be is said before anything is asked."""

import pytest

from brokers.alpaca.keys import Keys
from engine.clock import SystemClock
from engine.errors import SettingsError
from engine.run.paper.room import furnish
from engine.settings import Settings

KEYS = Keys("PKTEST", "secret")


@pytest.mark.parametrize(
    ("tree", "said"),
    [
        ({"data": {"symbols": ["A"]}}, r"paper\.checkpoint"),
        ({"paper": {"checkpoint": "c"}}, r"data\.symbols"),
        (
            {"paper": {"checkpoint": "c"}, "data": {"symbols": ["A"], "calendar": "none"}},
            r"data\.calendar",
        ),
        (
            {
                "paper": {"checkpoint": "c"},
                "data": {"symbols": ["A"]},
                "venue": {"pay_dividends": True},
            },
            r"pays no dividends",
        ),
    ],
)
def test_settings_that_no_paper_account_can_have_are_refused(tmp_path, monkeypatch, tree, said):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SettingsError, match=said):
        furnish(Settings.model_validate(tree), KEYS, SystemClock())
    assert list(tmp_path.iterdir()) == []
