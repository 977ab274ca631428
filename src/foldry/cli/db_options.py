"""What the commands of `foldry db` share: arguments, filters, the form of their output."""

from __future__ import annotations

import functools
import inspect
import json
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from foldry.cli.options import valued
from foldry.cli.show import show_line
from foldry.errors import MissingError

if TYPE_CHECKING:
    from foldry.database.database import Database
    from foldry.database.entry import Entry
    from foldry.database.filters import Filter

Place = Annotated[
    str,
    typer.Argument(metavar="DB", show_default=False, help="Its folder or postgresql:// URL."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, one object on each line.")]
Id = Annotated[
    str,
    typer.Argument(metavar="ID", show_default=False, help="Accession, id or name of an entry."),
]

_CHAINS: Final = {"one": False, "several": True}


def _chains(text: str) -> str:
    if text not in _CHAINS:
        raise ValueError("choose one or several")
    return text


_FILTERS: Final[dict[str, tuple[Any, Any]]] = {
    "organism": (str, valued("NAME", "Scientific name of the organism.")),
    "tax_id": (int, valued("N", "NCBI's taxonomy number.", min=1)),
    "min_length": (int, valued("N", "Minimum number of residues.", min=1)),
    "max_length": (int, valued("N", "Maximum number of residues.", min=1)),
    "min_plddt": (float, valued("N", "Minimum mean pLDDT.", min=0.0, max=100)),
    "max_plddt": (float, valued("N", "Maximum mean pLDDT.", min=0.0, max=100)),
    "tag": (list[str], valued("TAG", "A tag that entries have; may be repeated.")),
    "collection": (str, valued("NAME", "A collection that has the entries.")),
    "provider": (str, valued("NAME", "Who predicted.")),
    "tool": (str, valued("NAME", "The program that predicted.")),
    "since": (str, valued("DATE", "First day of the prediction, e.g. 2026-07-31.")),
    "until": (str, valued("DATE", "Last day of the prediction.")),
    "chains": (str, valued("NUMBER", "Entries with one chain, or with several.", read=_chains)),
    "reviewed": (bool, typer.Option("--reviewed", help="Only proteins in Swiss-Prot.")),
    "withdrawn": (bool, typer.Option("--withdrawn", help="Withdrawn entries too.")),
}
"""Type and option of each filter."""


def takes_filters(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command one option per filter and collect them in its parameter `chosen`."""

    @functools.wraps(command)
    def run(**given: Any) -> None:
        found = {name: value for name in _FILTERS if (value := given.pop(name))}
        command(**given, chosen=_filter(found))

    own = inspect.signature(command, eval_str=True).parameters
    keyword = inspect.Parameter.KEYWORD_ONLY
    taken = [each.replace(kind=keyword) for each in own.values() if each.name != "chosen"]
    for name, (kind, option) in _FILTERS.items():
        empty = False if kind is bool else None
        annotation: Any = Annotated[kind if kind is bool else kind | None, option]
        taken.append(inspect.Parameter(name, keyword, default=empty, annotation=annotation))
    run.__signature__ = inspect.Signature(taken)  # type: ignore[attr-defined]
    run.__annotations__ = {each.name: each.annotation for each in taken}
    return run


def _filter(given: dict[str, Any]) -> Filter:
    check_packages()
    from foldry.database.filters import Filter

    chains = given.pop("chains", None)
    return Filter(
        tags=tuple(given.pop("tag", ())),
        is_complex=None if chains is None else _CHAINS[chains],
        is_reviewed=given.pop("reviewed", None),
        with_withdrawn=given.pop("withdrawn", False),
        **given,
    )


def open_database(place: str) -> Database:
    """Return the database at a place.

    Raises:
        MissingError: There is none, or a package of the extra `db` is missing.
        InputError: It cannot be read.
    """
    check_packages()
    from foldry.database.database import Database

    return Database.open(place)


def check_packages() -> None:
    """Check that the packages of the extra `db` are there.

    Raises:
        MissingError: One is missing.
    """
    for name in ("sqlalchemy", "alembic"):
        if find_spec(name) is None:
            advice = 'run `pip install "foldry[db]"`'
            raise MissingError(f"The package {name} is missing", advice)


def show_json(value: Mapping[str, object]) -> None:
    """Print an object as one line of JSON."""
    typer.echo(json.dumps(value))


def shown_number(entries: int) -> str:
    """Return a number of entries in words."""
    return f"{entries:,} {'entry' if entries == 1 else 'entries'}"


def show_entry(entry: Entry, as_json: bool) -> None:
    """Print an entry, as JSON or as one line."""
    from foldry.database.describe import entry_json

    if as_json:
        show_json(entry_json(entry))
        return
    tags = f", tags: {', '.join(entry.tags)}" if entry.tags else ""
    withdrawn = f", withdrawn: {entry.withdrawn}" if entry.withdrawn else ""
    show_line(f"{entry.entry_id} ({entry.name}){tags}{withdrawn}", wrap=False)
