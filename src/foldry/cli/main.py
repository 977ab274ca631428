"""`foldry`: the commands, and what a user sees when one fails.

A command is a function, or a Typer application of several, in a file of this folder; it imports
its rooms when it runs, so that help is quick.
"""

from __future__ import annotations

import io
import logging
import sys
import tempfile
import traceback
from collections.abc import Sequence
from typing import Annotated, Any, Final

import typer

import foldry
from foldry.cli import fold, relax, score, screen, train, weights
from foldry.errors import InputError

USAGE_ERROR: Final[Any] = typer.BadParameter.__mro__[1]
"""What Typer raises on wrong arguments; it gives no public name to it."""
INTERRUPTED: Final = 130

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
    handler.setFormatter(logging.Formatter("%(levelname)s: %(message)s"))
    logger.handlers = [handler]
    logger.setLevel(logging.DEBUG if debug else logging.INFO)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line; the exit code is returned.

    0: done. 1: something failed. 2: the input or the arguments are wrong; one sentence says how,
    and nothing was written. 130: interrupted.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal that has no Å shows ? instead
            stream.reconfigure(errors="replace")
    try:
        code = app(arguments, prog_name="foldry", standalone_mode=False)
    except InputError as error:
        _say(str(error))
        return 2
    except USAGE_ERROR as error:
        message = error.format_message()
        if "\n" in message:  # help, where there were no arguments
            typer.echo(message)
        else:
            _say(f"{message.rstrip('.')}: see `{error.ctx.command_path} --help`.")
        return 2
    except (KeyboardInterrupt, typer.Abort):
        code = INTERRUPTED
    except Exception as error:  # no traceback reaches a user
        if isinstance(error, OSError) and error.filename:
            _say(f"{error.filename} cannot be used ({error.strerror}): check the path.")
            return 2
        _say(_unexpected(error))
        return 1
    if code == INTERRUPTED:  # which Typer itself may return
        _say("Interrupted: run the same command again to go on.")
    return code if isinstance(code, int) else 0


def _say(sentence: str) -> None:
    """Print one line on standard error, without what could steer a terminal."""
    line = " ".join(sentence.split())
    typer.echo("".join(c if c.isprintable() else "?" for c in line), err=True)


def _unexpected(error: Exception) -> str:
    """What to say of a fault of Foldry's own, its traceback kept in a file or shown."""
    what = f"{type(error).__name__}: {error}".rstrip(".: ")
    if logger.isEnabledFor(logging.DEBUG):
        traceback.print_exception(error)
        return f"Foldry failed ({what}): the traceback is above."
    with tempfile.NamedTemporaryFile(
        "w", prefix="foldry-", suffix=".log", delete=False, encoding="utf-8"
    ) as log:
        traceback.print_exception(error, file=log)
    return f"Foldry failed ({what}): please report it with the traceback in {log.name}."


if __name__ == "__main__":
    sys.exit(main())
