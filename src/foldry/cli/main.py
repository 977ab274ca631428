"""`foldry`: the commands, and what a user sees when one fails.

A command is a function, or a Typer application of several, in a file of this folder; it imports
its rooms when it runs, so that help is quick.
"""

from __future__ import annotations

import io
import logging
import os
import signal
import sys
import traceback
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, Final

import typer

import foldry
from foldry.cli import fold, relax, score, screen, train, weights
from foldry.cli.messages import as_flags, sentence
from foldry.errors import (
    BROKEN_PIPE,
    INTERRUPTED,
    FaultError,
    FoldryError,
    InputError,
    as_foldry_error,
    write_error,
)

USAGE_ERROR: Final[Any] = typer.BadParameter.__mro__[1]
"""What Typer raises on wrong arguments; it gives no public name to it."""

app = typer.Typer(
    name="foldry",
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(fold.fold)
app.command()(screen.screen)
app.command()(relax.relax)
app.add_typer(weights.app, name="weights")
app.command()(score.score)
app.add_typer(train.app, name="train")

logger = logging.getLogger("foldry")


class _Formatter(logging.Formatter):
    """Writes settings that a message names as flags."""

    def format(self, record: logging.LogRecord) -> str:
        return as_flags(super().format(record))


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"foldry {foldry.__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version."),
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", envvar="FOLDRY_DEBUG", help="Show more when something fails.")
    ] = False,
) -> None:
    """Foldry: the AlphaFold system, whole and open."""
    handler = logging.StreamHandler()
    handler.setFormatter(_Formatter("%(levelname)s: %(message)s"))
    logger.handlers = [handler]
    logger.setLevel(logging.DEBUG if debug else logging.INFO)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line; the exit code is returned.

    0: done. 1: some of several queries failed. 2: wrong input, or an output that cannot be
    written; nothing was computed. 3: a program, package, device or file is missing, or the disk or
    the memory is too small. 4: another process is at work in the same place. 5: a network or a
    tool failed. 70: a fault of Foldry's own. 130: interrupted. 141: nobody reads what it prints.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal that has no Å shows ? instead
            stream.reconfigure(errors="replace")
    with suppress(ValueError):  # only the main thread may set it
        # Schedulers send SIGTERM: what was begun is left in order, as after Ctrl-C.
        signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        if sys.stdout is None:  # what is asked for could not be shown
            raise InputError("Standard output is closed", "send it to a file or to /dev/null")
        code = app(arguments, prog_name="foldry", standalone_mode=False)
        sys.stdout.flush()
    except USAGE_ERROR as error:
        message = error.format_message()
        if "\n" in message:  # help, where there were no arguments
            typer.echo(message)
        else:
            command = error.ctx.command_path if error.ctx else "foldry"
            _say(f"{message.rstrip('.?')}: see `{command} --help`.")
        return InputError.exit_code
    except (KeyboardInterrupt, typer.Abort):
        code = INTERRUPTED
    except SystemExit as end:  # Rich ends with 1 where standard output is a closed pipe
        return BROKEN_PIPE if end.code == 1 else _code(end.code)
    except Exception as error:  # no traceback reaches a user
        return _fail(error)
    if code == INTERRUPTED:  # which Typer itself may return
        _say("Interrupted: run the same command again to go on.")
    return _code(code)


def _code(code: object) -> int:
    return code if isinstance(code, int) else 0


def _fail(error: Exception) -> int:
    """Say what went wrong, and return its exit code."""
    from foldry.store.files import discard_output

    if isinstance(error, OSError) and error.filename is None and _stdout_fails():
        discard_output()
        if isinstance(error, BrokenPipeError):  # its reader has seen enough
            return BROKEN_PIPE
        error = write_error(error, Path("Standard output"))
    known = as_foldry_error(error)
    ours = known is error or not isinstance(known, FaultError)
    _say(sentence(known) if ours else _fault(known, error))
    return known.exit_code


def _stdout_fails() -> bool:
    """Whether standard output takes nothing; where it does, it now has an empty line more."""
    try:
        os.write(1, b"\n")
    except OSError:
        return True
    return False


def _say(line: str) -> None:
    """Print one line on standard error, without what could steer a terminal."""
    line = " ".join(line.split())
    with suppress(OSError):  # standard error may be full too
        typer.echo("".join(c if c.isprintable() else "?" for c in line), err=True)


def _fault(known: FoldryError, error: Exception) -> str:
    """What to say of a fault of Foldry's own, its traceback shown or kept in a file."""
    if logger.isEnabledFor(logging.DEBUG):
        traceback.print_exception(error)
        return f"{known.what}: the traceback is above."
    from foldry.store.files import keep_log

    try:
        log = keep_log("".join(traceback.format_exception(error)))
    except FoldryError:
        return f"{known.what}: {known.advice}; --debug shows the traceback."
    return f"{known.what}: {known.advice} with the traceback in {log}."


if __name__ == "__main__":
    sys.exit(main())
