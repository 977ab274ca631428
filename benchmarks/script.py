"""How every benchmark runs as a program: wrong input is one line, and help gives the time."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable, Collection, Iterable
from pathlib import Path

from foldry.errors import FoldryError, InputError


def run_script(main: Callable[[], int | None]) -> None:
    """Run a program and exit with its code; wrong input becomes one sentence."""
    try:
        code = main()
    except SystemExit:
        if {"-h", "--help"} & set(sys.argv[1:]):
            print(f"\n{purpose(Path(sys.argv[0]).name)}")
        raise
    except FoldryError as error:
        code = _fail(str(error))
    except FileNotFoundError as error:
        code = _fail(f"{error.filename or error} does not exist: check the path, or see --help.")
    except subprocess.CalledProcessError as error:
        # A process whose errors are not captured has written them already.
        sys.stderr.write((error.stderr or b"").decode())
        code = error.returncode
    sys.exit(code or 0)


def check_names(names: Iterable[str], known: Collection[str]) -> None:
    """Check that commands are known.

    Raises:
        InputError: One is not.
    """
    if unknown := [name for name in names if name not in known]:
        raise InputError(f"There is no command {unknown[0]!r}", f"choose from {', '.join(known)}")


def purpose(name: str) -> str:
    """Return what a script prints or does, and its time, from README.md; "" for other scripts."""
    readme = Path(__file__).with_name("README.md")
    text = readme.read_text("utf-8") if readme.is_file() else ""
    row = re.search(rf"^\| `{re.escape(name)}` \| (.+) \| (.+) \|$", text, re.MULTILINE)
    if row is None:
        return ""
    is_tool = row.start() > text.index("## Tools")
    what = row[1] if is_tool else f"prints {row[1]}"
    return f"{what[0].upper()}{what[1:]}.\nTime on two cores: {row[2]}."


def _fail(sentence: str) -> int:
    sys.stderr.write(f"{sentence}\n")
    return 2
