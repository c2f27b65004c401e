"""The page of a retraining: its decision, its rules, and numbers that are those of its files."""

import json
import re

import numpy as np
import pytest

from engine.cli import run
from engine.errors import DataError
from engine.promotion import gap, interval
from engine.report.compare import RETRAINED
from engine.report.compare_read import read_entry
from engine.report.folder import RunFolder, write_json
from engine.report.retraining import RESULT, SEGMENTS, is_retraining, read_retraining
from engine.report.retraining_cautions import retraining_cautions
from engine.report.retraining_page import PAGE, render, write_retraining_page
from engine.report.retraining_sections import (
    account_rows,
    cards,
    challenger_rows,
    headline,
    lineage_rows,
    rival_rows,
)
from engine.run.check.memory_commands import found_in
from engine.run.compare_training import holds_training
from tests import made_up_retraining as made


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return made.write(tmp_path_factory.mktemp("retraining") / "run")


@pytest.fixture(scope="module")
def retraining(folder):
    return read_retraining(folder)


@pytest.fixture(scope="module")
def words(retraining):
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", render(retraining)))


def texts(found):
    return " | ".join(caution.text for caution in found)


def changed(retraining, **found):
    return type(retraining)(**vars(retraining) | {"found": retraining.found | found})


# The decision ----------------------------------------------------------------------------------


def test_headline_says_who_stays_and_which_rules_did_not_hold(retraining, words):
    failed = [rule["name"] for rule in retraining.found["rules"] if not rule["passed"]]
    assert "parity" in failed
    told = headline(retraining.found)
    assert told.startswith(f"The champion {made.CHAMPION} stays: {len(failed)} of 6 rules")
    assert told.endswith("parity).")
    assert told in words


@pytest.mark.parametrize(
    ("found", "said"),
    [
        ({"promoted": "abc", "promote": True}, "Promoted: abc is the champion now."),
        (
            {"promoted": "abc", "promote": True, "scored": False},
            "Promoted: abc is the champion now, trained again through the newest session: not scored.",
        ),
        ({"promote": True}, "All rules hold, and the promotion was not written"),
        ({"champion": None, "rules": [{"name": "flat", "passed": False}] * 2}, "Still no champion: 2"),
        (
            {"rules": [{"name": "sessions", "passed": False}], "accounts": {}},
            "stays: it was not judged (too few sessions).",
        ),
        (
            {"rules": [{"name": "flat", "passed": True}], "reason": "it changed meanwhile"},
            "stays: it changed meanwhile.",
        ),
    ],
)  # fmt: skip
def test_headline_of_every_other_end(retraining, found, said):
    assert said in headline(retraining.found | found)


def test_every_rule_stands_on_the_page_with_its_outcome(retraining, words):
    marks = {True: "passed", False: "not passed", None: "open"}
    for rule in retraining.found["rules"]:
        assert f"{marks[rule['passed']]} {rule['text']}" in words
    assert (
        "Look number 2 at these sessions; earlier ones: judgements of other retrainings 1, tests"
        in words
    )


# Numbers ---------------------------------------------------------------------------------------


def test_interval_is_both_sides_of_the_rule_at_the_same_share_of_error(retraining):
    returns = {name: curve[1:] / curve[:-1] - 1 for name, curve in made.curves().items()}
    ours, theirs = returns["challenger"], returns["champion"]
    value, low, high = interval(ours, theirs, "sharpe")
    assert low == gap(ours, theirs, "sharpe", 0.975).least
    # Mirrored: the other side is ahead by at least minus the upper end.
    assert high == pytest.approx(-gap(theirs, ours, "sharpe", 0.975).least)
    ratio = [np.sqrt(252) * x.mean() / x.std(ddof=1) for x in (ours, theirs)]
    assert value == pytest.approx(ratio[0] - ratio[1])
    found = retraining.ahead_of("champion")
    assert found == pytest.approx((value, low, high))


def test_interval_of_log_growth_is_a_difference_of_mean_logs(retraining):
    curves = made.curves()
    found = changed(retraining, score="log_growth").ahead_of("champion")[0]
    total = [np.log(curves[name][-1] / curves[name][0]) for name in ("challenger", "champion")]
    assert found == pytest.approx(252 * (total[0] - total[1]) / made.BARS)
    assert account_rows(changed(retraining, score="log_growth"))[2]["name"] == "Log growth"


def test_rows_side_by_side_are_those_of_the_file(retraining):
    rows = {row["name"]: row["cells"] for row in account_rows(retraining)}
    names = list(retraining.curves)
    assert names == ["challenger", "champion", "seed-0", "buy_and_hold", "flat"]
    assert rows["Validation score"] == ["1.50", "0.75", "0.50", "\u2013", "\u2013"]
    ratio = retraining.found["accounts"]["challenger"]["sharpe"]
    assert rows["Sharpe ratio"][0] == f"{ratio:.2f}"
    assert rows["Sharpe ratio"][-1] == "n/a"
    _, low, high = retraining.of("champion")
    assert rows["Sharpe ratio, 95 % interval"][1] == f"{low:.2f} to {high:.2f}"
    assert rows["Sharpe ratio, 95 % interval"][-1] == "\u2013"  # cash does not move
    assert retraining.of("champion")[0] == pytest.approx(
        retraining.found["accounts"]["champion"]["sharpe"]
    )


def test_rivals_are_told_apart_by_the_rules_that_were_asked_for(retraining):
    rows = {row[0]: row for row in rival_rows(retraining)}
    rule = {rule["name"]: rule for rule in retraining.found["rules"]}["champion"]
    row = rows[f"Champion {made.CHAMPION}"]
    assert row[1] == f"{rule['gap']['difference']:+.2f}"
    assert row[3] == f"{rule['gap']['least']:+.2f} at 97.5 %"  # 1 - 0.05 / 2 looks
    assert row[4] == ("beaten" if rule["passed"] else "not beaten")
    assert rows["Challenger, seed 0"][3:] == ["\u2013", "not asked for"]


def test_cards_show_the_gap_that_decides(retraining):
    rule = {rule["name"]: rule for rule in retraining.found["rules"]}["champion"]
    first, own, look, deflated = cards(retraining)
    assert first["name"] == "Ahead of the champion"
    assert first["value"] == f"{rule['gap']['difference']:+.2f}"
    assert own["value"] == f"{retraining.found['accounts']['challenger']['sharpe']:.2f}"
    assert (look["value"], deflated["value"]) == ("number 2", "0.60")


def test_challengers_and_their_origin_are_told(retraining):
    rows = challenger_rows(retraining)
    assert rows[1] == ["1", "1" * 12, "8", "1.50", "picked"]
    assert rows[2][0] == "2"
    assert rows[2][-1] == "seed-2: no feature row exists"
    lived = {row[0]: row[1:] for row in lineage_rows(retraining)}
    assert lived["Checkpoint"] == ["1" * 12, made.CHAMPION]
    assert lived["Made to replace"] == [made.CHAMPION, "\u2013"]
    assert lived["Champion since"] == ["\u2013", "2004-01-05T06:00:00Z, promoted by person"]
    older = {key: value for key, value in retraining.found.items() if key != "lineage"}
    assert lineage_rows(type(retraining)(**vars(retraining) | {"found": older})) == []


def test_chart_draws_every_account_once(retraining):
    drawn = re.search(r'id="run">(.*?)</script>', render(retraining), re.S).group(1)
    curves = {curve["name"]: curve for curve in json.loads(drawn)["curves"]}
    assert list(curves) == [
        "Challenger, seed 1", f"Champion {made.CHAMPION}", "Challenger, seed 0", "Buy and hold", "Flat",
    ]  # fmt: skip
    assert curves["Challenger, seed 0"]["group"] == "Other challengers"
    own = retraining.curves["challenger"]
    assert curves["Challenger, seed 1"]["equity"] == pytest.approx(own, abs=0.006)


# Warnings --------------------------------------------------------------------------------------


def test_warnings_of_the_trainings_come_first(retraining):
    assert "A challenger failed, seed-2: no feature row exists." in texts(
        retraining_cautions(retraining)
    )
    picked = [made.challenger(made.PICKED, 1.5) | {"warnings": ["Collapse: it keeps."]}]
    told = retraining_cautions(changed(retraining, challengers=picked))
    assert told[0].text == "The picked challenger: Collapse: it keeps."
    assert told[0].grave


def test_curve_that_is_another_ones_is_said_and_one_that_never_moved(retraining):
    curves = dict(retraining.curves)
    twin = type(retraining)(
        **vars(retraining) | {"curves": curves | {"champion": curves["challenger"]}}
    )
    assert f"identical to: Champion {made.CHAMPION}." in texts(retraining_cautions(twin))
    still = type(retraining)(
        **vars(retraining) | {"curves": curves | {"challenger": curves["flat"]}}
    )
    told = texts(retraining_cautions(still))
    assert "never traded on the judged sessions" in told
    assert "identical" not in told
    assert "identical" not in texts(retraining_cautions(retraining))


def test_refit_says_that_its_numbers_are_not_those_of_the_promoted_agent(retraining):
    told = texts(retraining_cautions(changed(retraining, promoted="abc", scored=False)))
    assert "nothing can score the one that trades" in told


# Folders ---------------------------------------------------------------------------------------


def test_retraining_without_a_judgement_has_a_page_without_tables(tmp_path):
    rules = [{"name": "sessions", "passed": False, "text": "14 sessions, 42 needed", "gap": None}]
    told = {"accounts": {}, "judged": None, "rules": rules, "reason": "14 sessions, 42 needed"}
    folder = made.write(tmp_path / "run", **told)
    text = write_retraining_page(folder).read_text()
    assert "not passed</b> 14 sessions, 42 needed" in text
    assert 'id="equity-title"' not in text
    with pytest.raises(DataError, match="judged nothing, so there is no account to compare"):
        read_entry(folder)


def test_report_of_a_retraining_writes_its_page(tmp_path, capsys):
    folder = made.write(tmp_path / "run")
    assert run(["report", str(folder)]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert f"Not promoted, the champion {made.CHAMPION} stays" in out
    assert f"Report: {folder / PAGE}" in out
    assert (folder / PAGE).is_file()


def test_report_of_what_has_no_test_says_which_command_makes_one(tmp_path, capsys):
    assert run(["report", str(tmp_path / "none")]) == 2
    assert "no such folder" in capsys.readouterr().err
    (tmp_path / "one" / "training" / "best").mkdir(parents=True)
    (tmp_path / "several" / "seed-3" / "training").mkdir(parents=True)
    for name, checkpoint in (
        ("one", "one/training/best"),
        ("several", "several/seed-.../training"),
    ):
        assert run(["report", str(tmp_path / name)]) == 2
        told = capsys.readouterr().err
        assert "holds a training and no test; `barwise backtest CONFIG --checkpoint" in told
        assert checkpoint in told


@pytest.mark.parametrize("command", ["report", "compare"])
def test_retraining_that_has_not_ended_names_the_command_that_goes_on(tmp_path, capsys, command):
    folder = made.write(tmp_path / "run")
    (folder / RESULT).unlink()
    (folder / "seed-0").mkdir()
    other = made.write(tmp_path / "other")
    assert run([command, str(folder), *([str(other)] if command == "compare" else [])]) == 1
    assert f"go on with `barwise retrain --resume {folder}`" in capsys.readouterr().err


def test_retraining_is_no_training_and_compares_by_what_judged_it(folder, retraining):
    (folder / "seed-0" / "training").mkdir(parents=True)
    assert is_retraining(folder)
    assert not holds_training(folder)
    entry = read_entry(folder)
    assert entry.kind == RETRAINED
    assert entry.about == "challenger, seed 1, not promoted"
    assert (entry.equity == retraining.curves["challenger"]).all()


def test_memory_check_of_a_retraining_is_one_of_the_picked_challenger(tmp_path):
    folder = made.write(tmp_path / "run")
    best = folder / "seed-1" / "training" / "best"
    assert found_in(folder) == (best, None)
    (folder / "judged" / "settings.json").write_text("{}")
    assert found_in(folder) == (best, folder / "judged")  # its test dates are those judged on


def test_broken_table_of_accounts_is_said_with_its_remedy(tmp_path):
    folder = made.write(tmp_path / "run")
    path = folder / "judged" / "equity.csv"
    path.write_text("session,challenger\n2004-03-04,much\n")
    with pytest.raises(DataError, match="the judged accounts cannot be read"):
        read_retraining(folder)
    path.unlink()
    with pytest.raises(DataError, match=r"take retrain\.json away and judge again"):
        read_retraining(folder)


def test_retraining_of_an_older_version_still_has_a_page(tmp_path):
    folder = made.write(tmp_path / "run")
    found = json.loads((folder / RESULT).read_text())
    for name in ("lineage", "looked_before", "checked"):
        del found[name]
    write_json(folder / RESULT, found)
    (folder / SEGMENTS).unlink()
    assert "Look number 2 at these sessions." in write_retraining_page(folder).read_text()
    assert RunFolder(folder).part("data")["symbols"] == ["AAA", "BBB"]
