"""What hangs on the burn-in is measured, a memory that ages too, and a window's end is proven."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from engine.bars import Bars
from engine.errors import DataError, UsageError
from engine.features import FeatureSet
from engine.observation import Observation, Scaler
from engine.policy import ActionSpace, Wish, decode, greedy, leaning
from engine.report.folder import RunFolder
from engine.run.check.findings import checks_of, enter, refresh
from engine.run.check.memory import MemoryResult, check_memory
from engine.run.check.memory_commands import found_in, run_memory, table_of, verdict
from engine.run.evaluation import evaluate
from engine.settings import Settings, build
from engine.trader import TraderSpec
from engine.trials import Ledger
from tests.markets import made_up
from tests.policies import Constant

SPAN = (300, 399)
BURN_IN, EPISODE = 16, 20


class Fading:
    """Trades on the sign of a sum of returns that fades by `keep` a bar."""

    memory_width = 1

    def __init__(self, keep: float) -> None:
        self.keep, self.space = np.float32(keep), ActionSpace()

    def act(self, obs: Observation, memory: np.ndarray) -> tuple[Wish, np.ndarray]:
        """See `engine.policy.Policy`."""
        after = memory * self.keep + obs.market[..., :1]
        head = leaning(after[..., 0], self.space, indifferent=0.1)
        return decode(greedy(head, self.space), self.space, False), after


class Rows:
    """Trades on the sum of the last K returns: its memory is the K - 1 before this one."""

    def __init__(self, k: int) -> None:
        self.memory_width, self.space = k - 1, ActionSpace()

    def act(self, obs: Observation, memory: np.ndarray) -> tuple[Wish, np.ndarray]:
        """See `engine.policy.Policy`."""
        row = np.concatenate([memory, obs.market[..., :1]], axis=-1)
        head = leaning(row.sum(axis=-1), self.space)
        return decode(greedy(head, self.space), self.space, False), row[..., 1:]


@pytest.fixture(scope="module")
def bars() -> Bars:
    return made_up(3, sessions=420, symbols=2, gaps=0.0, late=0, events=0.0)


SPEC = TraderSpec(
    features=FeatureSet(("log_return",)),
    scaler=Scaler(np.zeros(1), np.full(1, 0.02), 5.0),
    book_inputs=(),
    action=ActionSpace(),
    allocation=0.5,
    burn_in=BURN_IN,
)


def checked(bars: Bars, policy: object, memory: str = "carry", **changes: object) -> MemoryResult:
    spec = replace(SPEC, **changes)  # type: ignore[arg-type]
    return check_memory(bars, spec, policy, memory, SPAN, EPISODE, 1e5)  # type: ignore[arg-type]


def test_memory_that_fades_fast_does_not_hang_on_its_burn_in(bars: Bars) -> None:
    found = checked(bars, Fading(0.5))  # after 16 rows a 65,000th is left
    assert [item.rows for item in found.lengths] == [0, 4, 8, 16, 32, 64]
    own, longest = found.lengths[3], found.lengths[-1]
    assert (own.changed, own.max_change, own.equity) == (0.0, 0.0, 0.0)
    assert (longest.changed, longest.equity) == (0.0, 0.0)
    assert found.lengths[0].norm == 0.0
    assert own.norm > 0.0
    assert found.holds(0.0)
    assert "changes 0.00% of actions" in verdict(found, 0.01)


def test_memory_that_hardly_fades_fails(bars: Bars) -> None:
    found = checked(bars, Fading(0.999))
    assert found.dependence > 0.01
    assert not found.holds(0.01)
    assert verdict(found, 0.01).startswith("ACTIONS HANG ON THE BURN-IN")
    own = found.lengths[3]
    assert own.max_change == 1.0  # from nothing to a whole sleeve
    assert own.equity != 0.0


def test_age_is_measured_in_episodes_and_compared_with_a_memory_begun_anew(bars: Bars) -> None:
    # Its memory counts bars. log_return needs one bar before, so row 1 is the first; the life begins
    # at row 17, after 16 rows, and at age k it has seen 16 + 20 k of them.
    found = checked(bars, Constant(0.5))
    assert [(age.episodes, age.norm, age.fresh_norm) for age in found.ages] == [
        (1, 36.0, 16.0),
        (4, 96.0, 16.0),
        (16, 336.0, 16.0),
    ]
    assert found.ages[0].session == str(bars.sessions[17 + 20])
    assert [age.changed for age in found.ages] == [
        0.0
    ] * 3  # its action is the same whatever it counts


def test_old_memory_that_acts_otherwise_shows(bars: Bars) -> None:
    class Tires(Constant):
        def act(self, obs: Observation, memory: np.ndarray) -> tuple[Wish, np.ndarray]:
            _, after = super().act(obs, memory)
            wish = np.where(after[..., 0] > 60, 0.0, 1.0)
            return Wish(wish, np.zeros(wish.shape, dtype=bool)), after

    assert [age.changed for age in checked(bars, Tires(1.0)).ages] == [0.0, 1.0, 1.0]


def test_window_is_proven_to_end_and_one_that_does_not_is_found(bars: Bars) -> None:
    found = checked(bars, Rows(8), "window(8)")
    assert found.lengths[0].changed > 0.0  # an empty window decides otherwise
    assert not found.beyond_window
    assert found.holds(0.0)
    assert "no dependence beyond 8 rows" in verdict(found, 0.0)
    broken = checked(bars, Fading(0.99), "window(8)")
    assert not broken.holds(1.0)
    assert "REACHES FURTHER" in verdict(broken, 1.0)


def test_history_too_short_is_said_and_refused_where_nothing_is_left(bars: Bars) -> None:
    found = check_memory(bars, SPEC, Fading(0.5), "carry", (40, 80), 100, 1e5)
    assert [item.rows for item in found.lengths] == [0, 4, 8, 16, 32]
    assert found.notes[0].startswith("a burn-in of 64 rows was not measured: before")
    assert "only 39 rows" in found.notes[0]
    assert [age.episodes for age in found.ages] == [1, 4]
    assert found.notes[1].startswith("an age of 16 episodes of 100 bars was not measured")
    assert "note: an age of 16" in table_of(found)[-1]
    with pytest.raises(DataError, match="start the data earlier"):
        check_memory(bars, SPEC, Fading(0.5), "carry", (20, 80), 100, 1e5)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return build(
        {
            "runs_dir": str(tmp_path / "runs"),
            "data": {"end": "2010-12-31"},
            "split": {
                "train": {"end": "2008-12-31"},
                "validation": {"start": "2009-01-02", "end": "2009-12-31"},
                "test": {"start": "2010-01-04", "end": "2010-03-31"},
            },
            "backtest": {"baselines": ["flat"]},
            "train": {"episode_steps": 100},
        },
        "",
    )


@pytest.mark.parametrize(
    ("policy", "told"),
    [
        (Constant(0.0), "NEVER TRADED"),
        (Constant(1.0), "ASKED FOR ONE EXPOSURE ONLY"),
        (Fading(0.5), ""),
    ],
)
def test_agent_that_does_nothing_passes_with_a_warning_that_this_proves_nothing(
    bars: Bars, policy: object, told: str
) -> None:
    found = checked(bars, policy)
    assert found.holds(0.01)
    assert ("says nothing of its memory" in verdict(found, 0.01)) == bool(told)
    assert told in verdict(found, 0.01)
    assert (found.fills == 0) == (told == "NEVER TRADED")


def test_command_measures_a_checkpoint_and_the_report_shows_it(
    tmp_path: Path, settings: Settings, agent: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from engine.run.build import bars_of

    bars = bars_of(settings)
    RunFolder(tmp_path / "run").write(
        settings=settings.model_dump(mode="json"), summary={"checkpoint": str(agent)}
    )
    found = run_memory(tmp_path / "run", None, 0.01, (), as_json=False)
    assert found["exit_code"] == (0 if found["holds"] else 1)
    assert "its own" in capsys.readouterr().out
    told = {item["name"]: item for item in checks_of(settings, bars.digest(), agent)}
    assert told["Memory and burn-in"]["passed"] is found["holds"]
    assert told["Memory and burn-in"]["text"].startswith(found["verdict"])
    assert told["Parity"] == {
        "name": "Parity",
        "passed": None,
        "text": "not run here: `barwise check parity`.",
    }
    folder = tmp_path / "runs" / "test"
    evaluate(settings, bars, agent, RunFolder(folder))
    enter(settings, bars, "parity", True, "parity holds", agent)  # run after the backtest
    refresh(folder)
    seen = {item["name"]: item["passed"] for item in RunFolder(folder).read().summary["checks"]}
    assert seen["Parity"] is True
    assert seen["Memory and burn-in"] is found["holds"]
    assert seen["Look-ahead"] is None
    with Ledger(settings.ledger) as ledger:
        ledger.verify()
        assert [item.name for item in ledger.checks()] == ["memory", "parity"]
        assert len(ledger.trials()) == 1  # a check is no trial


def test_check_speaks_of_its_own_settings_data_and_agent_only(
    settings: Settings, bars: Bars, agent: Path
) -> None:
    def passed(settings: Settings, data: str, checkpoint: Path | None) -> bool | None:
        return checks_of(settings, data, checkpoint)[0]["passed"]

    assert passed(settings, bars.digest(), None) is None
    enter(settings, bars, "lookahead", False, "3 LEAKS")
    assert passed(settings, bars.digest(), None) is False
    enter(settings, bars, "lookahead", True, "nothing earlier moved")  # the last one counts
    assert passed(settings, bars.digest(), None) is True
    assert passed(settings, "another", None) is None
    assert passed(settings, bars.digest(), agent) is None
    costly = settings.model_copy(
        update={"costs": settings.costs.model_copy(update={"rate": 0.005})}
    )
    assert passed(costly, bars.digest(), None) is None


def test_placebo_check_speaks_of_the_effort_and_the_share_it_was_asked_for(
    settings: Settings, bars: Bars, agent: Path
) -> None:
    def told(settings: Settings) -> dict[str, bool | None]:
        found = checks_of(settings, bars.digest(), None)
        return {item["name"]: item["passed"] for item in found}

    less = settings.placebo.model_copy(update={"updates": 1, "control_share": 0.01})
    easy = settings.model_copy(update={"placebo": less})
    enter(easy, bars, "placebo", True, "no edge")
    enter(easy, bars, "lookahead", True, "nothing earlier moved")
    assert told(easy)["Placebo markets"] is True
    assert told(settings)["Placebo markets"] is None
    assert told(settings)["Look-ahead"] is True  # which the placebo's settings do not touch


def test_folder_that_is_no_checkpoint_is_refused(tmp_path: Path, agent: Path) -> None:
    with pytest.raises(UsageError, match="expected a checkpoint folder"):
        found_in(tmp_path)
    assert found_in(agent) == (agent, None)
    with pytest.raises(UsageError, match="--config"):
        run_memory(agent, None, 0.01, (), as_json=True)
