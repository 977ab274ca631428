"""A PostgreSQL server of the tests' own, in a temporary folder, reached by a socket alone."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import psycopg
from psycopg import sql


def programs() -> Path | None:
    """Return the folder of PostgreSQL's programs, the newest ones; None if not installed."""
    on_path = shutil.which("initdb")
    if on_path:
        return Path(on_path).parent
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda p: int(p.parts[-3]))
    return found[-1].parent if found else None


class Server:
    """A running server.

    Attributes:
        folder: Folder of its socket and data.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._numbers = count(1)

    def new_database(self) -> str:
        """Return the URL of an empty schema, which is made faster than a database of its own."""
        name = f"test_{next(self._numbers)}"
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(name)))
        return f"{self.url}&options=-csearch_path%3D{name}"

    @property
    def url(self) -> str:
        """The URL of its database."""
        return f"postgresql://foldry@/postgres?host={self.folder}"


@contextmanager
def running(bin_folder: Path) -> Iterator[Server]:
    """Run a server within the `with` block; as root, under the account `postgres`."""
    account = "postgres" if os.geteuid() == 0 else None
    # In memory if there is room: every schema has a hundred files. Sockets need short names.
    memory = Path("/dev/shm")
    has_room = memory.is_dir() and shutil.disk_usage(memory).free > 2**30
    folder = Path(tempfile.mkdtemp(prefix="foldry-pg-", dir=memory if has_room else "/tmp"))
    try:
        if account:
            shutil.chown(folder, account)
        data = folder / "data"

        def call(program: str, *arguments: str) -> None:
            command = [str(bin_folder / program), "-D", str(data), *arguments]
            quiet = subprocess.DEVNULL
            subprocess.run(
                command, check=True, user=account, cwd=folder, stdout=quiet, stderr=quiet
            )

        call("initdb", "-U", "foldry", "--auth=trust", "--no-sync", "--encoding=UTF8")
        options = f"-k {folder} -c listen_addresses='' -c fsync=off -c max_connections=20"
        call("pg_ctl", "start", "-w", "-l", str(folder / "log"), "-o", options)
        try:
            yield Server(folder)
        finally:
            call("pg_ctl", "stop", "-m", "immediate")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
