"""The parameters of `mini`, which come with Foldry."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Final

MINI: Final = Path(str(files("foldry") / "weights" / "mini.safetensors"))
MINI_NOTICE: Final = (
    "Made with mini, the small model that ships with Foldry: far less accurate than AlphaFold, "
    "whose own parameters Foldry can use as well."
)


def excluded_chains() -> frozenset[str]:
    """Return the ids of chains left out of mini's training because they resemble an example."""
    lines = MINI.with_name("mini_excluded.txt").read_text("utf-8").splitlines()
    return frozenset(line.split("\t")[0] for line in lines if line and not line.startswith("#"))
