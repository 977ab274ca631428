"""How every benchmark runs as a program: what is wrong with its input is one line."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

from foldry.errors import FoldryError


def run_script(main: Callable[[], int | None]) -> None:
    """Run a program and exit with its code; wrong input becomes one sentence."""
    try:
        code = main()
    except FoldryError as error:
        code = _fail(str(error))
    except FileNotFoundError as error:
        code = _fail(f"{error.filename or error} does not exist: check the path, or see --help.")
    except subprocess.CalledProcessError as error:
        # A process whose errors are not captured has written them already.
        sys.stderr.write((error.stderr or b"").decode())
        code = error.returncode
    sys.exit(code or 0)


def _fail(sentence: str) -> int:
    sys.stderr.write(f"{sentence}\n")
    return 2
