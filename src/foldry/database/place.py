"""Where a database is: a folder, or a PostgreSQL server."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit, urlunsplit

from foldry.errors import InputError, quoted
from foldry.store.files import named_path

TABLES: Final = "foldry.sqlite"
OBJECTS: Final = "objects"
SEARCH: Final = "search"
_POSTGRES: Final = ("postgresql", "postgres")


@dataclass(frozen=True)
class Place:
    """The place of a database.

    Attributes:
        shown: The place in messages, without a password.
        folder: The folder of tables, objects and search data; None with PostgreSQL.
        url: URL of a PostgreSQL database, or "".
    """

    shown: str
    folder: Path | None
    url: str = ""

    @property
    def tables(self) -> Path:
        """The file of the tables."""
        if self.folder is None:
            raise ValueError("the tables are in PostgreSQL")
        return self.folder / TABLES

    @property
    def is_writable(self) -> bool:
        """Whether this user may write the folder and the tables; True with PostgreSQL."""
        if self.folder is None:
            return True
        return os.access(self.folder, os.W_OK | os.X_OK) and os.access(self.tables, os.W_OK)


def find_place(where: str | Path) -> Place:
    """Return the place that a path or a `postgresql://` URL names.

    Raises:
        InputError: The URL has another scheme, or is not valid.
    """
    text = str(where)
    if "://" not in text:
        return Place(text, named_path(where))
    scheme, _, rest = text.partition("://")
    if scheme not in _POSTGRES:
        advice = "give a folder, or a URL that begins with postgresql://"
        raise InputError("is not a place for a database", advice, where=quoted(scheme + "://"))
    try:
        parts = urlsplit(text)
        host = parts.netloc.rpartition("@")[2]
        user = f"{parts.username}@" if parts.username else ""
    except ValueError:
        raise InputError("The URL of the database is not valid", "check it") from None
    return Place(
        urlunsplit(("postgresql", user + host, parts.path, "", "")),
        None,
        f"postgresql+psycopg://{rest}",
    )


def is_database(where: str) -> bool:
    """Return whether a path or URL is the place of a database, rather than of files."""
    return "://" in where or Path(where, TABLES).is_file()
