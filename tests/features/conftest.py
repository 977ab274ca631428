"""Recorded official numbers by the name of their file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

Recorded = Callable[[str], dict[str, np.ndarray]]


@pytest.fixture(scope="session")
def recorded(parity_dir: Path) -> Recorded:
    """Reads one file of the parity folder; the test is skipped where it is not there."""

    def read(name: str) -> dict[str, np.ndarray]:
        path = parity_dir / name
        if not path.is_file():
            pytest.skip(f"not among the recorded numbers: {path}")
        with np.load(path) as archive:
            return dict(archive)

    return read
