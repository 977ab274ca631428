"""The command `foldry`: its subcommands, and the messages of failures.

Each command is a function, or a Typer application of several, in a file of this folder. It imports
other modules only when it runs, which keeps `--help` fast.
"""

from __future__ import annotations

import io
import logging
import os
import re
import signal
import sys
import traceback
from collections.abc import Sequence
from contextlib import suppress
from difflib import get_close_matches
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from types import FrameType
from typing import Annotated, Any, Final

import typer

import foldry
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
from foldry.processes import tuning

USAGE_ERROR: Final[Any] = typer.BadParameter.__mro__[1]
"""The error that Typer raises on wrong arguments; it has no public name."""
SAVED: Final = (".npz", ".json", ".cif", ".safetensors")
"""Suffixes of the files from which an interrupted command continues."""

COMMANDS: Final = ("fold", "search", "screen", "relax", "score", "db", "weights", "train")
"""The commands in the order of the help; each is in the file of its name."""

logger = logging.getLogger("foldry")


class _Formatter(logging.Formatter):
    """Formats a message as one line, with flags for settings and without control characters."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  (the library's name)
        return printable(as_flags(super().formatMessage(record)))

    def formatException(self, ei: Any) -> str:  # noqa: N802
        return "\n".join(map(printable, super().formatException(ei).splitlines()))


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"foldry {foldry.__version__}")
        raise typer.Exit


def application(names: Sequence[str] = COMMANDS) -> typer.Typer:
    """Return the command line with some commands; each takes milliseconds to import and build."""
    app = typer.Typer(
        name="foldry",
        add_completion=False,
        no_args_is_help=True,
        rich_markup_mode=None,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(options)
    for name in names:
        module = import_module(f"foldry.cli.{name}")
        if hasattr(module, "app"):
            app.add_typer(module.app, name=name)
        else:
            app.command()(getattr(module, name))
    return app


def options(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version."),
    ] = False,
    debug: Annotated[
        bool,
        typer.Option(
            "--debug",
            envvar="FOLDRY_DEBUG",
            help="Show the traceback if Foldry has a fault; may follow COMMAND.",
        ),
    ] = False,
) -> None:
    """Predict protein structures with the AlphaFold networks, and score them.

    `foldry COMMAND --help` lists the options of a command. Example:

    foldry fold examples/kunitz/1adz.a3m -o out
    """
    handler = logging.StreamHandler()
    handler.setFormatter(_Formatter("%(levelname)s: %(message)s"))
    logger.handlers = [handler]
    logger.setLevel(logging.DEBUG if debug else logging.INFO)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line and return its exit code; docs/predict.md lists the codes.

    Args:
        arguments: Its words; None takes those of this process, which is then the command's own.
    """
    if arguments is None:
        tuning.begin()
    words = list(sys.argv[1:] if arguments is None else arguments)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal that cannot show Å shows ?
            stream.reconfigure(errors="replace")
    stopped = _note_stops()
    words.sort(key=lambda word: word != "--debug")  # it may also come after the command
    try:
        if sys.stdout is None:
            raise InputError("Standard output is closed", "send it to a file or to /dev/null")
        _check_words(words)
        code = _command(words)(words, prog_name="foldry", standalone_mode=False)
        sys.stdout.flush()
    except USAGE_ERROR as error:
        message = error.format_message()
        if "\n" in message:  # without arguments the message is the help
            typer.echo(message)
        else:
            _say(_usage(message.rstrip(".?"), words))
        return InputError.exit_code
    except (KeyboardInterrupt, typer.Abort):
        code = INTERRUPTED
    except SystemExit as end:  # Rich exits with 1 if standard output is a closed pipe
        return BROKEN_PIPE if end.code == 1 else _code(end.code)
    except Exception as error:  # no traceback reaches a user
        if not stopped:
            return _fail(error)
        code = INTERRUPTED  # a library turned the interruption into an error of its own
    if code == INTERRUPTED:  # Typer may return it too
        _say(_interrupted(words))
    return _code(code)


def _note_stops() -> list[int]:
    """Let SIGTERM, which schedulers send, end a command as Ctrl-C does; return a list for both."""
    stopped: list[int] = []

    def stop(number: int, frame: FrameType | None) -> None:
        stopped.append(number)
        signal.default_int_handler(number, frame)

    with suppress(ValueError):  # only the main thread may set a handler
        signal.signal(signal.SIGTERM, stop)
        if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:  # ignored in the background
            signal.signal(signal.SIGINT, stop)
    return stopped


def _command(words: Sequence[str]) -> Any:
    """Return the command without the Python types that Typer shows beside arguments.

    It has the one subcommand that the words call, or all if they call none.
    """
    called = [word for word in words if not word.startswith("-")][:1]
    names = called if called and called[0] in COMMANDS else COMMANDS
    command: Any = typer.main.get_command(application(names))
    waiting = [command]
    while waiting:
        each = waiting.pop()
        waiting += getattr(each, "commands", {}).values()
        for parameter in each.params:
            if parameter.param_type_name == "argument":
                parameter.display_type = lambda ctx: ""
    return command


def _check_words(words: Sequence[str]) -> None:
    """Refuse empty names, which would be the current folder, and standard input."""
    for before, word in zip(["", *words], words, strict=False):
        if before in ("-o", "--out", "--max-template-date"):  # they say it better
            continue
        if not word.strip():
            raise InputError(f"{before or 'The command'} is followed by an empty name", "give one")
        if word in ("-", "/dev/stdin"):
            raise InputError("Foldry does not read standard input", "give a file")


def _usage(message: str, words: Sequence[str]) -> str:
    """Return the sentence for wrong arguments from Typer's message."""
    if value := re.fullmatch(r"Invalid value for .*?'([^']+)': (is .*)", message, re.DOTALL):
        return f"{value[1]} {value[2]}."
    message, _, options = message.partition(" (Possible options: ")
    if near := get_close_matches(message.split()[-1], options.strip(")").split(", "), cutoff=0.8):
        message += f". Did you mean {near[0]}"
    message = re.sub(r"\. Did you mean (.*)", r" (did you mean \1?)", message)
    path, command = "foldry", _command(words)
    for word in (word for word in words if not word.startswith("-")):
        command = getattr(command, "commands", {}).get(word)
        if command is None:
            break
        path += f" {word}"
    return f"{message}: see `{path} --help`."


def _interrupted(words: Sequence[str]) -> str:
    """Return the sentence for an interrupted command; only some commands resume."""
    called = [word for word in words if not word.startswith("-")]
    group, command = (*called, "", "")[:2]
    is_search = group == "search" and command not in ("db", "cache")
    is_import = group == "db" and command in ("add", "import", "annotate")
    resumes = group in ("fold", "screen", "train") or is_search or "get" in called[:3] or is_import
    if resumes and command not in ("pack", "unpack"):
        outs = [Path(out) for flag, out in pairwise(words) if flag in ("-o", "--out")]
        is_saved = any(path.suffix in SAVED for path in outs[0].rglob("*")) if outs else True
        if not (is_saved or is_search):  # searches are kept elsewhere
            return "Interrupted: run the same command again to start anew; nothing was saved yet."
        return "Interrupted: run the same command again to continue from what was saved."
    return "Interrupted: nothing was written." if group != "train" else "Interrupted."


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
    """Return the message for a fault in Foldry; its traceback is printed or saved to a file."""
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
