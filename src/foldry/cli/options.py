"""Options of several commands, made from the settings that they set."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Container
from dataclasses import Field, fields
from math import isfinite
from pathlib import Path
from typing import Annotated, Any, Final, get_args, get_origin, get_type_hints

import typer

from foldry.predict.settings import Number, Settings

_TYPES: Final = (bool, int, float)


def valued(metavar: str, help: str, *flags: str, **more: Any) -> Any:
    """Return an option with a value, for the annotation of a command's parameter."""
    return typer.Option(*flags, metavar=metavar, help=help, **more)


def out_option(metavar: str, help: str) -> Any:
    """Return the option `-o, --out`, which refuses an empty name."""
    return valued(metavar, help, "-o", "--out", parser=_not_empty)


def _not_empty(name: str) -> Path:
    if not name.strip():  # Path("") is the current folder
        raise typer.BadParameter("the name is empty")
    return Path(name)


def option(name: str, flag: str = "") -> Any:
    """Return the option of one setting, for the annotation of a command's parameter."""
    setting = {each.name: each for each in fields(Settings)}[name]
    limits = setting.metadata["setting"].read
    if not isinstance(limits, Number):
        return _option(setting, flag)
    # Typer checks these bounds, because `Settings` would name another flag.
    most = limits.most if isfinite(limits.most) else None
    return _option(setting, flag, min=limits.least, max=most)


def takes_settings(
    leave_out: Container[str] = (), required: Container[str] = (), kind: type = Settings
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command one option per setting and collect them in its parameter `settings`.

    Args:
        leave_out: Settings without an option.
        required: Settings that must be given.
        kind: The dataclass that declares the settings.
    """
    hints = get_type_hints(kind)
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
                default=inspect.Parameter.empty if each.name in required else _default(each),
                annotation=Annotated[_type(each, hints[each.name]), _option(each)],
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


def _option(setting: Field[Any], flag: str = "", **limits: int | float | None) -> Any:
    about = setting.metadata["setting"]
    name = flag or about.flag or setting.name
    flag = f"--{name.replace('_', '-')}"
    metavar = about.metavar or (None if isinstance(setting.default, bool) else "N")
    return typer.Option(flag, metavar=metavar, help=about.help, **limits)  # type: ignore[arg-type]


def _type(setting: Field[Any], hint: Any) -> Any:
    """Return the type Typer converts to: a flag, a number, or text that the setting reads."""
    members = (hint,) if get_origin(hint) is tuple else (hint, *get_args(hint))
    kind = next((each for each in members if each in _TYPES), str)
    return kind | None if _default(setting) is None else kind


def _default(setting: Field[Any]) -> Any:
    return None if setting.default == () else setting.default
