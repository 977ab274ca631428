"""The settings of a prediction, each declared once.

A field of `Settings` has its help, its bounds and its stage. The options of the command line, the
signature of `foldry.fold`, the table in docs/predict.md and the content keys of a resumed run
follow from these fields.
"""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, get_args

from foldry.errors import InputError
from foldry.features.config import DEFAULT_PAIRING, Pairing
from foldry.relax.platforms import PLATFORMS
from foldry.relax.result import MAX_ROUNDS, MAX_SECONDS

Stage = Literal["network", "featurise", "infer", "relax", "run"]
"""The part of a prediction that a setting changes: networks, features, computation or relaxation.
`run` settings change where and when a prediction runs, but not its numbers."""
Read = Callable[[Any], Any]
"""Converts text or a value into the value of a field; raises ValueError with advice."""


@dataclass(frozen=True)
class Setting:
    """The description of a field of `Settings`.

    Attributes:
        help: One sentence.
        stage: The part of a prediction that the setting changes.
        read: Function that checks and converts a value.
        metavar: Placeholder for the value in help; "" for a flag.
        flag: Name of the option on the command line, if it differs from the field.
        in_words: The default in words, if it depends on the input.
    """

    help: str
    stage: Stage
    read: Read
    metavar: str = ""
    flag: str = ""
    in_words: str = ""


def _setting(value: Any, help: str, stage: Stage, read: Read, *words: str, **more: str) -> Any:
    return field(default=value, metadata={"setting": Setting(help, stage, read, *words, **more)})


@dataclass(frozen=True)
class Number:
    """Converts text or a value into a finite number within bounds."""

    kind: type[int] | type[float]
    least: int | float
    most: int | float = math.inf

    def __call__(self, value: Any) -> int | float:
        """Return `value`, which may be text, as a number."""
        try:
            number = self.kind(value)
            same = isinstance(value, str) or (number == value and not isinstance(value, bool))
            if same and self.least <= number <= self.most and math.isfinite(number):
                return number
        except (TypeError, ValueError, OverflowError):
            pass
        what = "a whole number" if self.kind is int else "a finite number"
        if self.most == math.inf:
            raise ValueError(f"give {what} of {self.least:g} or more")
        raise ValueError(f"give {what} from {self.least:g} to {self.most:g}")


def _one_of(*choices: str) -> Read:
    def read(value: Any) -> str:
        if value not in choices:
            raise ValueError(f"write {', '.join(choices[:-1])} or {choices[-1]}")
        return str(value)

    return read


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError("give True or False")
    return value


def _place(value: Any) -> str:
    if not isinstance(value, str | Path):
        raise ValueError("write mini, or the path of a file or folder of parameters")
    return str(value)


def _device(value: Any) -> str:
    if not re.fullmatch(r"auto|cpu|cuda(:\d{1,3})?", str(value)):
        raise ValueError("write auto, cpu, cuda or cuda:1")
    return str(value)


def read_models(value: Any) -> tuple[str, ...] | None:
    """Return the networks in `1-5`, `1,3` or `model_1_ptm,model_2_ptm`, or in a list of these.

    Returns:
        Numbers and names, or None for `all`.

    Raises:
        ValueError: A part is neither a number from 1 to 5, a range of these, nor a name.
    """
    if value == "all":
        return None
    chosen: list[str] = []
    for part in _parts(value, "('1', '2')"):
        ends = re.fullmatch(r"([1-5])-([1-5])", part)
        names = [str(n) for n in range(int(ends[1]), int(ends[2]) + 1)] if ends else [part]
        if not names or not all(re.fullmatch(r"[1-5]|[A-Za-z]\w*", name) for name in names):
            raise ValueError(
                "write numbers from 1 to 5, such as 1-5 or 1,3, or names such as model_1_ptm"
            )
        chosen += names
    if not chosen:
        raise ValueError("name at least one network")
    return tuple(dict.fromkeys(chosen))


def read_seeds(value: Any) -> tuple[int, ...]:
    """Return the seeds in `7`, `1,2,3` or `0-4`, or in a list of numbers.

    Raises:
        ValueError: A part is neither a whole number nor a range, or there are too many.
    """
    from foldry.query import MAX_SEED, MAX_SEEDS  # noqa: PLC0415  (NumPy slows help down)

    chosen: list[int] = []
    for part in _parts(value, "(0, 1)"):
        ends = re.fullmatch(r"(\d{1,10})(?:-(\d{1,10}))?", part)
        if ends and int(ends[1]) > int(ends[2] or ends[1]):
            raise ValueError("the first number of a range must not exceed the second")
        first, last = (int(ends[1]), int(ends[2] or ends[1])) if ends else (1, 0)
        if not first <= last <= MAX_SEED or len(chosen) + last - first >= MAX_SEEDS:
            raise ValueError(
                f"write up to {MAX_SEEDS} numbers from 0 to {MAX_SEED}, such as 7, 1,2,3 or 0-4"
            )
        chosen += range(first, last + 1)
    return tuple(dict.fromkeys(chosen))


def read_max_msa(value: Any) -> tuple[int, int]:
    """Return the numbers of rows in `clusters:extra`, or in a list of two numbers.

    Raises:
        ValueError: They are not two whole numbers, the first at least 1.
    """
    parts = value.split(":") if isinstance(value, str) else _parts(value, "(512, 1024)")
    if (
        len(parts) != 2
        or not all(re.fullmatch(r"\d{1,6}", part) for part in parts)
        or (int(parts[0]) < 1)
    ):
        raise ValueError("write clusters:extra, such as 512:1024, with at least 1 cluster")
    return int(parts[0]), int(parts[1])


def _parts(value: Any, example: str) -> list[str]:
    """Return the parts of text at commas, a number, or the members of a list, all as text."""
    if type(value) in (str, int):
        return [part.strip() for part in str(value).split(",")]
    if not isinstance(value, Sequence):
        raise ValueError(f"give a list, such as {example}")
    return [str(part) for part in value]


def check_settings(settings: Any) -> None:
    """Check and convert the fields of a dataclass that have a `Setting`.

    Raises:
        InputError: A value is out of bounds or unknown.
    """
    for each in fields(settings):
        value = getattr(settings, each.name)
        if value is None and each.default is None:
            continue
        try:
            read = each.metadata["setting"].read(value)
        except ValueError as error:
            raise InputError(f"`{each.name}` is {value!r}", str(error)) from None
        object.__setattr__(settings, each.name, read)


@dataclass(frozen=True)
class Settings:
    """The settings of a prediction; None means the value of the network's configuration.

    Raises:
        InputError: A value is out of bounds or unknown.

    Example:
        >>> Settings(seeds=(0, 1), num_recycles=3).of_stage("run")["seeds"]
        (0, 1)
    """

    weights: str = _setting(
        "mini", "mini, or a file or folder of parameters.", "network", _place, "WHICH"
    )
    models: tuple[str, ...] | None = _setting(
        None,
        "Networks to run, e.g. 1-5, 1,3 or model_1_ptm; all for every one.",
        "network",
        read_models,
        "LIST",
        in_words="the pTM networks; for complexes the newest multimer networks",
    )
    num_recycles: int | None = _setting(
        None,
        "Number of recycles.",
        "infer",
        Number(int, 0, 100),
        "N",
        in_words="20 for multimer networks, 3 for AlphaFold's others, 0 for mini",
    )
    recycle_tolerance: float | None = _setting(
        None,
        "Stop recycling when Cα distances change by less than this.",
        "infer",
        Number(float, 0),
        "Å",
        in_words="0.5 for multimer networks, otherwise off",
    )
    seeds: tuple[int, ...] = _setting(
        (),
        "Random seeds, e.g. 0-4 or 1,7.",
        "run",
        read_seeds,
        "LIST",
        in_words="the query's, otherwise `0`",
    )
    max_msa: tuple[int, int] | None = _setting(
        None,
        "Maximum MSA depth: clusters and extra rows, e.g. 512:1024.",
        "featurise",
        read_max_msa,
        "N:EXTRA",
    )
    pairing: Pairing = _setting(  # noqa: RUF009  (the default is text)
        DEFAULT_PAIRING,
        "How to pair the chains' MSA rows: alphafold, greedy, complete or none.",
        "featurise",
        _one_of(*get_args(Pairing)),
        "HOW",
    )
    dropout: bool = _setting(False, "Keep dropout on to sample diverse structures.", "infer", _flag)
    num_ensemble: int | None = _setting(
        None,
        "Random MSA draws averaged in each recycle.",
        "featurise",
        Number(int, 1, 100),
        "N",
        flag="ensemble",
    )
    save_representations: bool = _setting(
        False, "Also write the final single and pair representations.", "infer", _flag
    )
    device: str = _setting("auto", "Device: auto, cpu, cuda or cuda:1.", "run", _device, "NAME")
    dtype: str = _setting(
        "float32",
        "Numerical precision: float32 or bfloat16.",
        "infer",
        _one_of("float32", "bfloat16"),
        "NAME",
    )
    relax: str = _setting(
        "none",
        "Predictions to relax: none, best or all.",
        "relax",
        _one_of("none", "best", "all"),
        "WHICH",
    )
    relax_platform: str = _setting(
        "auto",
        "Platform for relaxation: auto, cuda, cpu or reference.",
        "run",
        _one_of("auto", *PLATFORMS),
        "NAME",
    )
    relax_rounds: int = _setting(
        MAX_ROUNDS, "Maximum number of minimisations.", "relax", Number(int, 1, 100), "N"
    )
    relax_seconds: float = _setting(
        MAX_SECONDS, "Time limit of relaxation, seconds.", "relax", Number(float, 1), "S"
    )
    force: bool = _setting(False, "Compute finished predictions again.", "run", _flag)

    def __post_init__(self) -> None:
        check_settings(self)

    def of_stage(self, *stages: Stage) -> dict[str, object]:
        """Return the settings of these stages, as plain values."""
        return {
            each.name: getattr(self, each.name)
            for each in fields(self)
            if each.metadata["setting"].stage in stages
        }

    def relaxation(self) -> dict[str, object]:
        """Return the settings of relaxation; empty if nothing is relaxed."""
        return {} if self.relax == "none" else self.of_stage("relax")


def help_lines() -> str:
    """Return a line of help for every field of `Settings`, for docstrings."""
    return "\n".join(
        f"    {each.name}: {each.metadata['setting'].help}" for each in fields(Settings)
    )


Settings.__doc__ = f"{inspect.cleandoc(Settings.__doc__ or '')}\n\nAttributes:\n{help_lines()}"
