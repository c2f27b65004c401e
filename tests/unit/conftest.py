"""What tests of an account that follows a registry share."""

import shutil
from pathlib import Path

import pytest

from engine.registry import Registry
from tests.fault_account import account
from tests.followed import name_of
from tests.registries import LINEAGE, cousin


@pytest.fixture(scope="session")
def agents(tmp_path_factory, agent):
    """Three agents that decide otherwise."""
    folder = tmp_path_factory.mktemp("agents")
    return [agent, *(cousin(agent, folder / str(seed), seed) for seed in (1, 2))]


@pytest.fixture(scope="session")
def champion_registry(tmp_path_factory, agents):
    """A registry of the agents, the first one champion; to be copied, not changed."""
    made = Registry(tmp_path_factory.mktemp("template") / "registry")
    for folder in agents:
        made.add(folder, LINEAGE)
    made.promote(name_of(agents[0]), "the first", "person")
    return made.path


@pytest.fixture
def registry(tmp_path, monkeypatch, champion_registry):
    """A registry of three agents in the folder at work; the first is its champion."""
    monkeypatch.chdir(tmp_path)
    return Registry(Path(shutil.copytree(champion_registry, "registry")))


@pytest.fixture
def acc(tmp_path, registry):
    """An account that follows it."""
    with account(tmp_path / "paper", Path("champion")) as made:
        yield made
