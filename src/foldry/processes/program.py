"""External programs, such as MMseqs2, which never outlive this process."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from foldry.errors import MissingError, OutsideError

_GUARD = Path(__file__).with_name("guard.py")


def find_program(name: str, how_to_install: str) -> str:
    """Return the path of a program.

    Raises:
        MissingError: The program is not installed.
    """
    found = shutil.which(name)
    if found is None:
        raise MissingError(f"The program {name} is not installed", how_to_install)
    return found


def run_program(command: Sequence[str]) -> str:
    """Run a program and return its standard output.

    It runs in its own session below `guard.py`: when this process ends, by whatever signal, the
    program and all its children end too.

    Args:
        command: The program's path and its arguments.

    Raises:
        OutsideError: The program failed; the message quotes its last two lines of output.
    """
    alive, held = os.pipe()  # closed by the system when this process ends
    guard = [sys.executable, "-I", "-S", str(_GUARD), str(alive), *command]
    try:
        process = subprocess.Popen(
            guard,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            pass_fds=(alive,),
            encoding="utf-8",
            errors="replace",
        )
    except BaseException:
        os.close(held)
        raise
    finally:
        os.close(alive)
    with process:
        try:
            printed, errors = process.communicate()
        finally:  # on Ctrl-C this makes the guard end the program, then itself
            os.close(held)
            process.wait()
    if process.returncode:
        lines = [line for line in (printed + errors).splitlines() if line.strip()]
        reason = " ".join(" ".join(lines[-2:]).split()) or f"exit code {process.returncode}"
        name = Path(command[0]).name
        raise OutsideError(f"{name} failed ({reason})", "run the same command again")
    return printed
