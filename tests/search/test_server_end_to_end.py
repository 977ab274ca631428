"""A search by a server: as ColabFold's own client makes it, and by Foldry's own tickets."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from foldry.formats.a3m import to_a3m
from foldry.search.client import Patience
from foldry.search.databases import inspect, of_structures
from foldry.search.hmmer import Hmmer
from foldry.search.server import ServerSettings, TicketServer
from foldry.search.server_templates import ServerTemplates
from foldry.search.templates import Rules, choose
from foldry.search.tickets import Tickets
from foldry.store.cache import Cache
from tests.conftest import ROOT
from tests.search.test_colabfold import CLIENT
from tests.search.test_tickets import serving
from tests.search.ticket_host import Host, hosted

PATIENT = Patience(10, 20, 20, 60, pause=0.05, max_pause=0.1, spacing=0, attempts=4)
SEQUENCES = ["MKTAYIAKQR", "MKVAYIA"]
EXAMPLES = ROOT / "examples"

THEIR_CLIENT = """
import json, sys
from colabfold.colabfold import run_mmseqs2
url, folder, sequences, calls = map(json.loads, sys.argv[1:])
found = [
    run_mmseqs2(sequences, f"{folder}/{number}", host_url=url, user_agent="test", **options)
    for number, options in enumerate(calls)
]
print(json.dumps(found))
"""


def of(url: str, folder: Path, settings: ServerSettings | None = None) -> TicketServer:
    chosen = settings or ServerSettings()
    return TicketServer(url, Cache(folder), chosen, patience=PATIENT, announce=lambda _: None)


def theirs(host: Host, folder: Path, *calls: dict[str, Any]) -> list[list[str]]:
    """Return what ColabFold's client returns for the sequences with some options."""
    words = map(json.dumps, (host.url, str(folder), SEQUENCES, calls))
    environment = {**os.environ, "MPLBACKEND": "agg", "MPLCONFIGDIR": str(folder)}
    done = subprocess.run(
        [str(CLIENT), "-c", THEIR_CLIENT, *words],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found: list[list[str]] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.mark.skipif(not CLIENT.exists(), reason="`make clients` installs ColabFold's client")
def test_colabfold_asks_for_the_same_and_reads_the_same(tmp_path: Path) -> None:
    calls = (
        {"use_env": True},
        {"use_env": False, "use_filter": False},
        {"use_env": False, "use_pairing": True},
        {"use_env": True, "use_pairing": True, "pairing_strategy": "complete"},
    )
    with hosted() as host:
        expected = theirs(host, tmp_path, *calls)
        forms = [each.form for each in host.requests if each.method == "POST"]
        del host.requests[:]
        plain = ServerSettings(environmental=False, filter=False)
        complete = ServerSettings(pairing_strategy=1, environmental_pairs=True)
        found: list[Any] = [
            list(of(host.url, tmp_path).query(SEQUENCES)),
            list(of(host.url, tmp_path, plain).query(SEQUENCES)),
            *of(host.url, tmp_path).pairs([SEQUENCES]),
            *of(host.url, tmp_path, complete).pairs([SEQUENCES]),
        ]
        assert [each.form for each in host.requests if each.method == "POST"] == forms
    assert [list(map(to_a3m, rows)) for rows in found] == expected


def test_tickets_of_this_package(tmp_path: Path) -> None:
    proteins = inspect(EXAMPLES / "database" / "proteins.fasta.gz")
    structures = of_structures(EXAMPLES / "database" / "structures", tmp_path / "index", "known")
    served = Tickets((proteins, structures), tmp_path / "served")
    trypsin = (EXAMPLES / "trypsin" / "1trn.fasta").read_text().partition("\n")[2]
    trypsin = trypsin.replace("\n", "")
    with serving(served) as url:
        server = of(url, tmp_path / "kept")
        [alignment] = server.query([trypsin])
        [expected] = Hmmer(proteins).query([trypsin])
        assert alignment.texts == (*expected.texts, trypsin)  # no environmental database
        templates = ServerTemplates(server)
        [hits] = templates.hits([alignment])
    assert 5 < len(hits) <= 20
    chosen = choose(trypsin, hits, templates, Rules(max_hits=4))
    assert [each.name for each in chosen.hits] == [each.name for each in hits[:4]]
    assert all(each.how == "same chain" for each in chosen.hits)
    assert all(each.identity is not None and each.identity > 0.3 for each in chosen.hits)
    assert all(each.coverage is not None and each.coverage > 0.8 for each in chosen.hits)
