"""The files in configs/ that start barwise for good: settings, systemd units, a container."""

import configparser
import re
import shutil
import stat
import subprocess
from pathlib import Path

import pytest

from engine.settings import load

CONFIGS = Path(__file__).parents[2] / "configs"
UNITS = sorted(path.name for kind in ("service", "timer") for path in CONFIGS.glob(f"*.{kind}"))
SERVICES = ("barwise-paper.service", "barwise-paper-once.service", "barwise-retrain.service")
BUDGET = {"Nice", "CPUQuota", "CPUWeight", "IOSchedulingClass", "MemoryMax", "OOMScoreAdjust"}


def unit(name):
    """Return a unit as {section: {key: [values]}}; systemd allows a key several times."""
    parsed, section = {}, {}
    for line in (CONFIGS / name).read_text().splitlines():
        if match := re.fullmatch(r"\[(\w+)\]", line):
            section = parsed.setdefault(match[1], {})
        elif line and not line.startswith("#"):
            key, _, value = line.partition("=")
            section.setdefault(key, []).append(value)
    return parsed


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.toml")), ids=lambda path: path.name)
def test_every_key_of_every_settings_file_is_known(path):
    assert load(path).name


def test_paper_settings_name_what_a_paper_session_needs_and_no_secret():
    settings = load(CONFIGS / "paper.toml")
    assert settings.paper.checkpoint
    assert settings.data.symbols
    assert settings.data.feed == settings.paper.feed
    assert settings.paper.trading_url == "https://paper-api.alpaca.markets"
    text = (CONFIGS / "paper.toml").read_text()
    for line in re.findall(r'^# (\w+_url = "\S+")$', text, re.M):
        practice = load(CONFIGS / "paper.toml", (f"paper.{line}",))
        assert "127.0.0.1" in practice.paper.model_dump_json()


def test_systemd_takes_every_unit_without_a_word(tmp_path):
    if shutil.which("systemd-analyze") is None:
        pytest.skip("no systemd-analyze here")
    for name in UNITS:
        text = re.sub(r"ExecStart=\S+", "ExecStart=/bin/true", (CONFIGS / name).read_text())
        (tmp_path / name).write_text(text)
    done = subprocess.run(
        ["systemd-analyze", "verify", *(str(tmp_path / name) for name in UNITS)],
        capture_output=True,
        text=True,
        check=False,
        env={"SYSTEMD_UNIT_PATH": f"{tmp_path}:", "PATH": "/usr/bin:/bin"},
    )
    ours = [line for line in (done.stdout + done.stderr).splitlines() if str(tmp_path) in line]
    assert (done.returncode, ours) == (0, [])


@pytest.mark.parametrize("name", UNITS)
def test_units_can_be_read_as_ini_files(name):
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.read(CONFIGS / name)
    assert "PAPER" in parser["Unit"]["Description"]


@pytest.mark.parametrize("name", SERVICES)
def test_services_are_given_time_to_stop_and_keep_secrets_out_of_the_unit(name):
    service = unit(name)["Service"]
    assert int(service["TimeoutStopSec"][0]) >= 120
    assert service["EnvironmentFile"] == ["/etc/barwise/barwise.env"]
    assert "TZ=UTC" in service["Environment"][0].split()
    assert service["StateDirectoryMode"] == ["0700"]
    assert not re.search("APCA|NOTIFY", " ".join(service["Environment"]))


def test_all_services_are_fenced_in_the_same_way():
    scheduler, once, retraining = (unit(name)["Service"] for name in SERVICES)
    differ = {"Type", "ExecStart", "Restart", "RestartSec", "RestartPreventExitStatus"}
    for other, own in ((once, {"TimeoutStartSec"}), (retraining, {"TimeoutStartSec", *BUDGET})):
        assert {k: v for k, v in scheduler.items() if k not in differ} == {
            k: v for k, v in other.items() if k not in differ | own
        }
    assert scheduler["ProtectSystem"] == ["strict"]
    assert scheduler["NoNewPrivileges"] == ["true"]


def test_the_timer_starts_one_look_in_the_exchanges_own_zone_and_catches_up():
    timer = unit("barwise-paper.timer")["Timer"]
    assert timer["Unit"] == ["barwise-paper-once.service"]
    assert timer["Persistent"] == ["true"]
    assert all(text.endswith(" America/New_York") for text in timer["OnCalendar"])
    times = [text.split()[1] for text in timer["OnCalendar"]]
    assert {"16:20", "09:00", "09:45"} <= set(times)  # close + 20, open - 30, open + 15


def test_a_retraining_has_a_budget_of_its_own_and_the_hour_of_the_settings():
    schedule = load(None).retrain.schedule
    service, timer = (unit(f"barwise-retrain.{kind}") for kind in ("service", "timer"))
    assert set(service["Service"]) >= BUDGET
    assert int(service["Service"]["TimeoutStartSec"][0]) == schedule.hours * 3600
    assert int(service["Service"]["Nice"][0]) == load(None).retrain.nice
    told = f"{schedule.day.capitalize()} {schedule.at} America/New_York"
    assert timer["Timer"]["OnCalendar"] == [told]
    assert timer["Timer"]["Persistent"] == ["true"]


def test_the_container_runs_as_nobody_in_particular_and_holds_no_secret():
    text = (CONFIGS / "Containerfile").read_text()
    steps = [line.split(maxsplit=1) for line in text.splitlines() if re.match(r"[A-Z]+ ", line)]
    assert ["USER", "10001"] in steps
    assert ["STOPSIGNAL", "SIGTERM"] in steps
    copied = [part.split()[0] for name, part in steps if name == "COPY"]
    assert all((CONFIGS.parent / source).exists() for source in copied)
    instructions = "\n".join(line for line in text.splitlines() if not line.startswith("#"))
    assert not re.search("APCA|NOTIFY|SECRET", instructions)


def test_files_of_configs_are_plain_files_that_cannot_be_run():
    for path in CONFIGS.iterdir():
        assert path.is_file()
        assert not path.stat().st_mode & stat.S_IXUSR, path.name
