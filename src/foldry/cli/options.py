"""Options of commands, made from the settings that they set."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Container, Mapping
from dataclasses import Field, fields
from math import inf
from pathlib import Path
from typing import Annotated, Any

import typer

from foldry.errors import quoted
from foldry.predict.settings import Number, Read, Settings


def valued(
    metavar: str,
    help: str,
    *flags: str,
    read: Read | None = None,
    min: float | None = None,
    max: float = inf,
) -> Any:
    """Return an option with a value, for the annotation of a command's parameter.

    The value is text that `read` converts, or a number of the type of `min`, from `min` to `max`.
    """
    if min is not None:
        read = Number(type(min), min, max)
    return typer.Option(*flags, metavar=metavar, help=help, parser=read and _parser(read))


def _parser(read: Read) -> Read:
    """Return `read` with the error that Typer expects; `main` puts the option before it."""

    def parse(text: Any) -> Any:
        try:
            return read(text)
        except ValueError as error:
            raise typer.BadParameter(f"is {quoted(text)}: {error}") from None

    return parse


def out_option(metavar: str, help: str) -> Any:
    """Return the option `-o, --out`, which refuses an empty name."""
    return valued(metavar, help, "-o", "--out", read=not_empty)


def not_empty(name: str | Path) -> Path:
    """Return a name as a path; refuse an empty one, which would be the current folder."""
    if not str(name).strip():
        raise ValueError("give a name")
    return Path(name)


def option(name: str, flag: str = "") -> Any:
    """Return the option of one setting, for the annotation of a command's parameter."""
    setting = {each.name: each for each in fields(Settings)}[name]
    return _option(setting, flag)


def takes_settings(
    leave_out: Container[str] = (),
    required: Mapping[str, str] | None = None,
    defaults: Mapping[str, str] | None = None,
    kind: type = Settings,
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command one option per setting and collect them in its parameter `settings`.

    Args:
        leave_out: Settings without an option.
        required: Settings that must be given, with their help.
        defaults: Defaults in words that differ from those of the settings.
        kind: The dataclass that declares the settings.
    """
    needed, words = required or {}, defaults or {}
    chosen = [each for each in fields(kind) if each.name not in leave_out]

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(command)
        def run(**given: Any) -> None:
            values = {each.name: given.pop(each.name) for each in chosen}
            given_values = {name: value for name, value in values.items() if value is not None}
            command(**given, settings=kind(**given_values))

        options = [
            inspect.Parameter(
                each.name,
                inspect.Parameter.KEYWORD_ONLY,
                default=inspect.Parameter.empty if each.name in needed else _default(each),
                annotation=Annotated[
                    _type(each),
                    _option(each, help=needed.get(each.name), default=words.get(each.name)),
                ],
            )
            for each in chosen
        ]
        own = inspect.signature(command, eval_str=True).parameters
        parameters = [
            *(each.replace(kind=each.KEYWORD_ONLY) for each in own.values()),
            *options,
        ]
        parameters = [each for each in parameters if each.name != "settings"]
        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        run.__annotations__ = {each.name: each.annotation for each in parameters}
        return run

    return decorate


def _option(
    setting: Field[Any], flag: str = "", help: str | None = None, default: str | None = None
) -> Any:
    about = setting.metadata["setting"]
    name = flag or about.flag or setting.name
    flag = f"--{name.replace('_', '-')}"
    if isinstance(setting.default, bool):
        return typer.Option(flag, help=about.help)
    words = default or about.in_words.replace("`", "")
    text = help or about.help + (f" Default: {words}." if words else "")
    return valued(about.metavar or "N", text, flag, read=about.read)


def _type(setting: Field[Any]) -> Any:
    """Return the type Typer converts to: a flag, or text that the setting reads."""
    kind = bool if isinstance(setting.default, bool) else str
    return kind | None if _default(setting) is None else kind


def _default(setting: Field[Any]) -> Any:
    if isinstance(setting.default, float) and setting.default.is_integer():
        return int(setting.default)  # help shows 600, not 600.0
    return None if setting.default == () else setting.default
