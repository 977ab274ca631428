"""`foldry`: its commands, and what a user sees when one fails.

Each command is a function, or a Typer application of several, in a file of this folder. It imports
its rooms when it runs, which keeps help quick.
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
    printable,
    write_error,
)

USAGE_ERROR: Final[Any] = typer.BadParameter.__mro__[1]
"""The error that Typer raises on wrong arguments; it has no public name."""

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
    """Writes settings as flags, and a message as one line without control characters."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  (the library's name)
        return printable(as_flags(super().formatMessage(record)))

    def formatException(self, ei: Any) -> str:  # noqa: N802
        return "\n".join(map(printable, super().formatException(ei).splitlines()))


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
        bool,
        typer.Option("--debug", envvar="FOLDRY_DEBUG", help="Show the traceback of a failure."),
    ] = False,
) -> None:
    """Foldry: the AlphaFold system, whole and open.

    `foldry COMMAND --help` lists the options of a command.
    """
    handler = logging.StreamHandler()
    handler.setFormatter(_Formatter("%(levelname)s: %(message)s"))
    logger.handlers = [handler]
    logger.setLevel(logging.DEBUG if debug else logging.INFO)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line and return its exit code; docs/predict.md lists the codes."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal without Å shows ? instead
            stream.reconfigure(errors="replace")
    with suppress(ValueError):  # only the main thread may set a handler
        # Schedulers send SIGTERM, which ends a command as Ctrl-C does.
        signal.signal(signal.SIGTERM, signal.default_int_handler)
    words = list(sys.argv[1:] if arguments is None else arguments)
    if "--debug" in words:  # it may also follow the command
        words = ["--debug", *(word for word in words if word != "--debug")]
    try:
        if sys.stdout is None:
            raise InputError("Standard output is closed", "send it to a file or to /dev/null")
        code = app(words, prog_name="foldry", standalone_mode=False)
        sys.stdout.flush()
    except USAGE_ERROR as error:
        message = error.format_message()
        if "\n" in message:  # without arguments the message is the help
            typer.echo(message)
        else:
            command = error.ctx.command_path if error.ctx else "foldry"
            _say(f"{message.rstrip('.?')}: see `{command} --help`.")
        return InputError.exit_code
    except (KeyboardInterrupt, typer.Abort):
        code = INTERRUPTED
    except SystemExit as end:  # Rich exits with 1 if standard output is a closed pipe
        return BROKEN_PIPE if end.code == 1 else _code(end.code)
    except Exception as error:  # no traceback reaches a user
        return _fail(error)
    if code == INTERRUPTED:  # Typer may return it too
        _say("Interrupted: run the same command again to resume.")
    return _code(code)


def _code(code: object) -> int:
    return code if isinstance(code, int) else 0


def _fail(error: Exception) -> int:
    """Print what went wrong and return its exit code."""
    from foldry.store.files import discard_output

    if isinstance(error, OSError) and error.filename is None and _stdout_fails():
        discard_output()
        if isinstance(error, BrokenPipeError):  # the reader closed it, e.g. `head`
            return BROKEN_PIPE
        error = write_error(error, Path("Standard output"))
    known = as_foldry_error(error)
    ours = known is error or not isinstance(known, FaultError)
    _say(sentence(known) if ours else _fault(known, error))
    return known.exit_code


def _stdout_fails() -> bool:
    """Return whether standard output cannot be written; otherwise it gets an empty line."""
    try:
        os.write(1, b"\n")
    except OSError:
        return True
    return False


def _say(line: str) -> None:
    """Print one line on standard error, without control characters."""
    with suppress(OSError):  # standard error may be full too
        typer.echo(printable(" ".join(line.split())), err=True)


def _fault(known: FoldryError, error: Exception) -> str:
    """Return what to say of a fault in Foldry; its traceback is shown or kept in a file."""
    if logger.isEnabledFor(logging.DEBUG):
        for line in "".join(traceback.format_exception(error)).splitlines():
            typer.echo(printable(line), err=True)
        return f"{known.what}: the traceback is above."
    from foldry.store.files import keep_log

    try:
        log = keep_log("".join(traceback.format_exception(error)))
    except FoldryError:
        return f"{known.what}: {known.advice}; --debug shows the traceback."
    return f"{known.what}: {known.advice} with the traceback in {log}."


if __name__ == "__main__":
    sys.exit(main())
