"""Settings: defaults once, overrides, and errors that name file, key and remedy."""

import pytest

from engine.errors import SettingsError
from engine.settings import Settings, build, load
from engine.settings_text import as_toml


def written(tmp_path, text: str):
    path = tmp_path / "mine.toml"
    path.write_text(text)
    return path


def test_empty_file_gives_the_defaults(tmp_path):
    assert load(written(tmp_path, "")) == Settings()


def test_override_reaches_a_nested_key_with_the_type_of_toml(tmp_path):
    path = written(tmp_path, "[train]\ngamma = 0.9\n")
    sets = (
        "train.gamma=0.98",
        "name=mine",
        "data.symbols=['A','B']",
        "split.test={end=2012-01-03}",
    )
    found = load(path, sets)
    assert found.train.gamma == 0.98
    assert found.name == "mine"
    assert found.data.symbols == ("A", "B")
    assert str(found.split.test.end) == "2012-01-03"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[train]\ngama = 0.9\n", r"mine\.toml: unknown key train\.gama; did you mean gamma\?"),
        ("[trian]\ngamma = 0.9\n", "did you mean train"),
        ("[agent.network]\nhiden_size = 3\n", "did you mean hidden_size"),
        ("[train]\ngamma = 1.5\n", r"train\.gamma: .*less than or equal to 1.*found 1\.5"),
        ("[agent]\nmemory = 'window(0)'\n", r'agent\.memory: .*"carry" or "window\(K\)"'),
        ("[agent]\nmemory = 'window(20)'\nburn_in = 5\n", "at least 19"),
        ("[train]\ngamma = \n", "cannot be read as TOML"),
        ("[split.train]\nend=2010-01-01\n[split.test]\nstart=2009-01-01\n", "overlap"),
        (
            "[split.train]\nstart=2001-01-01\n[split.test]\nstart=2009-01-01\n",
            "train and test overlap",
        ),
        (
            "[split.validation]\nstart=2008-01-02\n[split.test]\nstart=2010-01-04\n",
            r"validation and test overlap: 2008-01-02 to the last date .*set split\.validation\.end",
        ),
        ("[split.test]\nstart=2010-01-02\nend=2009-01-01\n", "is after end"),
        ("[data]\nsymbols = 'A'\n", r"data\.symbols: expected a list, for example .*found .A."),
        ("agent.network = 5\n", r"mine\.toml: agent\.network: expected a table of keys, found 5"),
        ("[split.test]\nend = 20151231\n", "expected a date like 2015-12-31, found 20151231"),
        ("[backtest]\ncash = inf\n", r"backtest\.cash: expected a finite number, found inf"),
        ("[limits]\nmax_turnover = nan\n", r"limits\.max_turnover: .*, found nan"),
        ("[walkforward]\ncost_bps = [5.0, -inf]\n", r"walkforward\.cost_bps\.1: .* found -inf"),
        ("[retrain]\nheld_back = 42\n", "held_back 42 leaves 41 sessions .* nothing could ever be"),
    ],
)
def test_wrong_settings_are_refused_in_words(tmp_path, text, told):
    with pytest.raises(SettingsError, match=told):
        load(written(tmp_path, text))


@pytest.mark.parametrize(
    ("text", "overrides", "told"),
    [
        (
            "",
            ("network.x=3",),
            "--set network.x=3: unknown key network; did you mean agent.network?",
        ),
        ("", ("name=a", "train.gama=1"), "--set train.gama=1: unknown key train.gama"),
        (
            "[train]\ngamma = 0.9\n",
            ("train.gamma=1.5",),
            "--set train.gamma=1.5: train.gamma: Input should be less than or equal to 1, found 1.5; "
            "change it",
        ),
        ("[train]\ngama = 0.9\n", ("train.gamma=0.5",), "mine.toml: unknown key train.gama"),
        ("[train]\ngamma = 1.5\n", ("train.gamma=1.5",), "mine.toml: train.gamma"),  # wrong before
        (
            "",
            ("train.learning_rate=inf",),
            "--set train.learning_rate=inf: train.learning_rate: expected a finite number, found inf",
        ),
        (
            "[split.train]\nend=2010-01-01\n",
            ("split.test.start=2009-01-01", "name=a"),
            "--set split.test.start=2009-01-01: split: train and test overlap",
        ),
        (
            "[data]\nsymbols = ['A']\n",
            ("data.symbols=['A',3]",),
            "--set data.symbols=['A',3]: data.",
        ),
    ],
)
def test_what_an_override_brought_in_is_not_blamed_on_the_file(tmp_path, text, overrides, told):
    with pytest.raises(SettingsError) as error:
        load(written(tmp_path, text), overrides)
    assert told in str(error.value)
    assert ("mine.toml" in str(error.value)) == ("mine.toml" in told)


def test_missing_file_says_where_examples_are(tmp_path):
    with pytest.raises(SettingsError, match="see configs/"):
        load(tmp_path / "none.toml")


@pytest.mark.parametrize("override", ["train.gamma", "=3", "train..gamma=1", "name.x=1"])
def test_override_that_is_none_is_refused(tmp_path, override):
    with pytest.raises(SettingsError):
        load(written(tmp_path, "name = 'a'\n"), (override,))


def test_settings_printed_as_toml_load_back_to_the_same_settings(tmp_path):
    changed = build(
        {
            "name": "mine",
            "train": {"gamma": 0.5, "starts": "sequential"},
            "split": {"test": {"start": "2010-01-04"}},
            "observation": {"features": ["rsi(3)", "log_return"], "book": []},
            "limits": {"max_positions": 3, "allow_short": True},
        },
        "here",
    )
    assert load(written(tmp_path, as_toml(changed))) == changed


def test_every_setting_is_explained_where_it_is_defined():
    def fields(model, path):
        for name, field in model.model_fields.items():
            inner = field.annotation
            if hasattr(inner, "model_fields"):
                yield from fields(inner, f"{path}{name}.")
            else:
                yield f"{path}{name}", field.description

    explained = list(fields(Settings, ""))
    assert "split.test.start" in dict(explained)
    assert [name for name, text in explained if not text] == []
