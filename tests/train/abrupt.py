"""Work that ends its process, in a separate module because each process imports it."""

from __future__ import annotations

import os

from foldry.dataset import prepare
from foldry.errors import FoldryError


def end_abruptly(task: prepare._Task) -> FoldryError | None:
    """Read a structure, or end the process."""
    if task.path.name in ("torn.pdb", "far.pdb"):
        os._exit(9)
    return prepare._read(task)
