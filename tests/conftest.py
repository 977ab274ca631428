"""Locations of the recorded numbers and the real data."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

from tests import checked

# Before any of Foldry's modules is imported.
checked.install()

ROOT = Path(__file__).resolve().parent.parent
# Not the databases and the kept searches of whoever runs the tests.
_KEPT = tempfile.TemporaryDirectory(prefix="foldry-tests-")
os.environ["FOLDRY_DATABASES"] = str(Path(_KEPT.name, "databases"))
os.environ["FOLDRY_SEARCHES"] = str(Path(_KEPT.name, "searches"))
os.environ["FOLDRY_SEARCH_DATA"] = str(Path(_KEPT.name, "search"))


def parity_root() -> Path:
    """Return the folder of recorded numbers: $FOLDRY_PARITY, ../shared/parity or tests/golden."""
    named = os.environ.get("FOLDRY_PARITY")
    if named:
        return Path(named)
    shared = ROOT.parent / "shared" / "parity"
    return shared if shared.is_dir() else ROOT / "tests" / "golden"


def data_root() -> Path:
    """Return the folder of real structures and alignments: $FOLDRY_DATA or ../shared/data."""
    return Path(os.environ.get("FOLDRY_DATA", ROOT.parent / "shared" / "data"))


@pytest.fixture(scope="session")
def parity_dir() -> Path:
    """The parity folder; skips the test if there is none."""
    root = parity_root()
    if not root.is_dir():
        pytest.skip(f"no recorded official numbers at {root}")
    return root


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder of real data; skips the test if there is none."""
    root = data_root()
    if not root.is_dir():
        pytest.skip(f"no real data at {root}: set FOLDRY_DATA to the folder that holds it")
    return root


@pytest.fixture(scope="session")
def cases_dir() -> Path:
    """The folder of files as users have them; skips the test if there is none."""
    root = ROOT.parent / "shared" / "cases"
    if not root.is_dir():
        pytest.skip(f"no cases at {root}")
    return root


def pytest_runtest_setup() -> None:
    """Check the first calls of each function in every test."""
    checked.begin_test()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Start with the files that have slow tests, so that all processes end together."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the worst error of each recorded case, a property of its test."""
    reports = [report for kind in terminalreporter.stats.values() for report in kind]
    lines = [
        text
        for report in reports
        if isinstance(report, pytest.TestReport) and report.when == "call"
        for name, text in report.user_properties
        if name == "worst error"
    ]
    if lines:
        terminalreporter.section("worst error of each recorded case")
        for line in lines:
            terminalreporter.write_line(str(line))
