"""Programs of others, such as MMseqs2: run to their end, or ended with this process."""

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
    """The path of a program.

    Raises:
        MissingError: It is not installed.
    """
    found = shutil.which(name)
    if found is None:
        raise MissingError(f"The program {name} is not installed", how_to_install)
    return found


def run_program(command: Sequence[str]) -> str:
    """Run a program and return what it printed on standard output.

    It runs in a session of its own below a guard: where this process ends, by whatever signal, the
    program and all that it started end too.

    Args:
        command: The program's path and its arguments.

    Raises:
        OutsideError: It failed; the sentence has the last two lines that it printed.
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
        finally:  # on Ctrl-C the guard ends the program, and then itself
            os.close(held)
            process.wait()
    if process.returncode:
        lines = [line for line in (printed + errors).splitlines() if line.strip()]
        reason = " ".join(" ".join(lines[-2:]).split()) or f"exit code {process.returncode}"
        name = Path(command[0]).name
        raise OutsideError(f"{name} failed ({reason})", "run the same command again")
    return printed
