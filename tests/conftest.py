"""Fixtures every test may use."""

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Return the folder of test-only market data, or skip: it stays outside the repository.

    BARWISE_TEST_DATA names it; otherwise shared/data beside the repository root.
    """
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get("BARWISE_TEST_DATA", beside))
    if not folder.is_dir():
        pytest.skip(f"no test data in {folder}; set BARWISE_TEST_DATA to its folder")
    return folder


@pytest.fixture(scope="session")
def shared_specs() -> Path:
    """Return the folder of Alpaca's OpenAPI files, or skip: it stays outside the repository.

    BARWISE_TEST_SPECS names it; otherwise shared/specs/alpaca-openapi beside the repository root.
    """
    beside = Path(__file__).resolve().parents[2] / "shared" / "specs" / "alpaca-openapi"
    folder = Path(os.environ.get("BARWISE_TEST_SPECS", beside))
    if not folder.is_dir():
        pytest.skip(f"no OpenAPI files in {folder}; set BARWISE_TEST_SPECS to their folder")
    return folder


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--kill-seeds", type=int, default=5, help="scenarios that are killed at every boundary"
    )


def pytest_configure(config: pytest.Config) -> None:
    # Libraries still use what pandas 3.1 deprecates; older pandas does not know the class.
    import pandas.errors

    if hasattr(pandas.errors, "Pandas4Warning"):
        config.addinivalue_line("filterwarnings", "ignore::pandas.errors.Pandas4Warning")


@pytest.fixture(scope="session")
def agent(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the checkpoint of an agent that trades often; exporting it takes seconds."""
    from tests.paper_account import sample_bars, save_checkpoint

    return save_checkpoint(tmp_path_factory.mktemp("agent") / "checkpoint", sample_bars())
