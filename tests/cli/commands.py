"""Every command that writes, run as a separate process on inputs that take about a second."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import IO, Final

import numpy as np
import pytest
import torch
from safetensors import safe_open

from foldry.formats.coordinates import read_structure, to_pdb
from foldry.model.alphafold import AlphaFold
from foldry.model.config import preset
from foldry.train import bundle
from foldry.weights.official import official_shapes
from foldry.weights.state_file import save
from tests.dataset.test_prepare import helix, letters
from tests.train.synthetic import write_world
from tests.train.tiny import tiny_config
from tests.weights.archive import small, tar

EXAMPLE: Final = Path(__file__).resolve().parents[2] / "examples" / "kunitz" / "1adz.cif"
QUERIES: Final = ("one", "two", "three")
MODEL: Final = "model_3_ptm"
SEQUENCE: Final = "MKTAYIAKQRQISFVKSHFSRQ"
MISSING: Final = "needs pip install openmm pdbfixer"


@dataclass(frozen=True)
class Command:
    """A command, and what it makes.

    Attributes:
        words: What is typed in the folder of the inputs; OUT stands for the output.
        product: The last file that it writes into its folder; "" where it writes one file.
        suffix: The ending of that file; "" for a folder.
        heavy: The same with so much to compute that a test notices when it is begun.
        room: Bytes for which a disk is too small in the midst of writing; 0 where all is one page.
    """

    words: str
    product: str = ""
    suffix: str = ""
    heavy: str = ""
    room: int = 0

    def typed(self, out: Path, *, heavy: bool = False) -> list[str]:
        """The words, with the output in its place."""
        words = (self.heavy if heavy else "") or self.words
        return [str(out) if word == "OUT" else word for word in words.split()]

    def place(self, folder: Path) -> Path:
        """An output in a folder."""
        return folder / f"out{self.suffix}"

    def made(self, out: Path) -> Path:
        """The file that is there when the command is done."""
        return out / self.product if self.product else out


_TRAIN: Final = "train run --data world -o OUT --stage fold --set crop_size=24 --set batch_size=1"
_PREPARE: Final = "train prepare structures alignments -o OUT --clusters clusters.tsv --workers 1"
_SCREEN: Final = "--weights multimer.safetensors -o OUT --num-recycles 0"
COMMANDS: Final = {
    "fold": Command(
        "fold q.fasta -o OUT --num-recycles 0",
        product="three/report.html",
        heavy="fold heavy.fasta -o OUT",
        room=3 << 20,
    ),
    "screen": Command(
        f"screen pairs.csv --bait bait {_SCREEN}",
        product="pairs/bait_and_b/report.html",
        heavy=f"screen heavy.csv --all {_SCREEN}",
        room=3 << 20,
    ),
    "relax": Command(
        "relax a.pdb -o OUT --platform reference",
        suffix=".pdb",
        heavy="relax heavy.pdb -o OUT --platform reference",
    ),
    "weights get": Command(
        f"weights get --tar archive.tar --models {MODEL} --folder OUT",
        product=f"params_{MODEL}.npz",
    ),
    "weights convert": Command(
        "weights convert tiny.safetensors OUT", suffix=".safetensors", room=200 << 10
    ),
    "score --batch": Command("score --batch batch.csv -o OUT --jobs 1", suffix=".csv"),
    "score --plot": Command("score a.pdb b.pdb --plot OUT", suffix=".svg"),
    "train run": Command(
        f"{_TRAIN} --steps 2 --save-every 1",
        product="checkpoint.safetensors",
        heavy=f"{_TRAIN} --steps 100000",
        room=6 << 20,
    ),
    "train prepare": Command(_PREPARE, product="report.tsv", room=12 << 10),
    "train pack": Command(
        "train pack world -o OUT --weights tiny.safetensors --rows 2",
        product="manifest.json",
        room=300 << 10,
    ),
    "train unpack": Command(
        "train unpack bundle -o OUT", product="start.safetensors", room=300 << 10
    ),
}


def write_inputs(folder: Path) -> None:
    """All that `COMMANDS` read."""
    records = [(name, SEQUENCE[:-1] + letter) for name, letter in zip(QUERIES, "QGA", strict=True)]
    _write(folder / "q.fasta", "".join(f">{name}\n{sequence}\n" for name, sequence in records))
    _write(folder / "heavy.fasta", f">one\n{letters(0, 1200)}\n")
    _write(folder / "pairs.csv", f"id,sequence\nbait,{SEQUENCE[:14]}\na,MKVLAAGIVG\nb,GGSAYWQRKM\n")
    _write(folder / "heavy.csv", f"id,sequence\na,{letters(0, 600)}\nb,{letters(1, 600)}\n")
    known = read_structure(EXAMPLE)
    for name in ("a", "b"):
        _write(folder / f"{name}.pdb", to_pdb(known.select(np.arange(20, 30))))
    _write(folder / "heavy.pdb", to_pdb(helix(letters(0, 1000))))
    _write(folder / "batch.csv", "model,reference\na.pdb,b.pdb\n")
    torch.manual_seed(0)
    for name, config in (
        ("tiny", tiny_config()),
        ("multimer", small("model_1_multimer_v3")),
    ):
        path = folder / f"{name}.safetensors"
        save(path, AlphaFold(config).state_dict(), config)
    (folder / "archive.tar").write_bytes(archive())
    (folder / "world").mkdir()
    write_world(folder / "world")
    bundle.pack(folder / "world", folder / "bundle", folder / "tiny.safetensors", max_rows=2)
    (folder / "alignments").mkdir()
    (folder / "structures").mkdir()
    for number in range(4):
        path = folder / "structures" / f"good{number}.pdb"
        _write(path, to_pdb(helix(letters(number))))
    names = [f"good{number}_A" for number in range(4)]
    _write(folder / "clusters.tsv", "".join(f"{name}\t{name}\n" for name in names))


def archive() -> bytes:
    """An archive with the names and shapes of a real network, all zero and so small."""
    shapes = official_shapes(preset(MODEL))
    file = io.BytesIO()
    np.savez_compressed(
        file, allow_pickle=False, **{name: np.zeros(s, np.float32) for name, s in shapes.items()}
    )
    return tar({"LICENSE": b"CC BY 4.0\n", f"params_{MODEL}.npz": file.getvalue()})


def _write(path: Path, text: str) -> None:
    path.write_text(text, "utf-8")


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder of inputs."""
    folder = tmp_path_factory.mktemp("inputs")
    write_inputs(folder)
    with unchanged(folder):
        yield folder


@contextmanager
def unchanged(folder: Path) -> Iterator[None]:
    """No command changes a folder of inputs."""
    before = tree(folder)
    yield
    assert tree(folder) == before


@dataclass(frozen=True)
class Ended:
    """How a process ended."""

    code: int
    out: str
    err: str

    @property
    def said(self) -> list[str]:
        """The lines on standard error but for remarks."""
        lines = [line for line in self.err.splitlines() if line.strip()]
        return [line for line in lines if not line.startswith(("WARNING: ", "INFO: "))]

    def sentence(self, code: int) -> str:
        """The one line that says why the command failed, with this exit code."""
        assert self.code == code, (self.code, self.err, self.out)
        assert len(self.said) == 1, self.err
        [line] = self.said
        assert line.endswith("."), line
        assert "Traceback" not in self.err and "report it" not in self.err
        assert "Errno" not in line and "Error:" not in line, line
        return line

    def done(self) -> None:
        """Nothing failed."""
        assert self.code == 0, (self.code, self.err)
        assert "Traceback" not in self.err


@dataclass(frozen=True)
class Shell:
    """Where commands are typed.

    Attributes:
        folder: That of the inputs.
        scratch: The folder of temporary files, in which a command leaves none of its own.
    """

    folder: Path
    scratch: Path

    def __call__(
        self,
        words: list[str],
        *,
        prefix: list[str] | None = None,
        before: Callable[[], None] | None = None,
        stdout: int | IO[bytes] = subprocess.PIPE,
        home: bool = True,
        timeout: float = 120.0,
    ) -> Ended:
        """Type a command and wait until it ends.

        Args:
            words: Those after `foldry`.
            prefix: A program that runs the command.
            before: Called in the new process first.
            stdout: Where the output goes.
            home: Whether HOME is set.
            timeout: Seconds after which the test fails: it was computing.
        """
        ended = subprocess.run(
            [*(prefix or ()), sys.executable, "-m", "foldry.cli.main", *words],
            check=False,
            cwd=self.folder,
            env=self._environment(home),
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=subprocess.PIPE,
            timeout=timeout,
            preexec_fn=before,
        )
        assert list(self.scratch.glob("foldry*")) == [], ended.stderr.decode()
        return Ended(ended.returncode, (ended.stdout or b"").decode(), ended.stderr.decode())

    def _environment(self, home: bool) -> dict[str, str]:
        """Without MMseqs2, whose work is the same every time, and without a user's settings."""
        ours = ("FOLDRY_", "HOME", "XDG_", "PATH", "COLUMNS")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
        found = {"OMP_NUM_THREADS": "1", "COLUMNS": "400", "TMPDIR": str(self.scratch), "PATH": ""}
        if home:
            found["HOME"] = str(self.folder.parent)
        return kept | found


@pytest.fixture
def foldry(inputs: Path, tmp_path_factory: pytest.TempPathFactory) -> Shell:
    """Types a command in the folder of the inputs."""
    scratch = tmp_path_factory.mktemp("scratch")
    scratch.chmod(0o777)
    return Shell(inputs, scratch)


@pytest.fixture(params=COMMANDS)
def command(request: pytest.FixtureRequest) -> Command:
    """Each command in turn."""
    return chosen(request.param)


def chosen(name: str) -> Command:
    """A command by its name; the test is skipped where it needs what is not installed."""
    if name == "relax":
        pytest.importorskip("openmm", reason=MISSING)
    return COMMANDS[name]


# The content of the disk

Tree = dict[str, str]


def tree(folder: Path) -> Tree:
    """What is below a folder: of each path its kind, and of files and links what is in them."""
    return {path.relative_to(folder).as_posix(): _content(path) for path in folder.rglob("*")}


def _content(path: Path) -> str:
    if path.is_symlink():
        return f"link to {path.readlink()}"
    return "folder" if path.is_dir() else sha256(path.read_bytes()).hexdigest()


_TEMPORARY: Final = re.compile(r"partial|\.lock$|(^|/)lock$|\.part$|tmp|~$")
_RESUMED: Final = re.compile(r"(^|/)(\.[^/]+|work)(/|$)")
"""What a command keeps so that the next one goes on: hidden folders, and that of prepare."""


def assert_whole(folder: Path) -> None:
    """No temporary file and no lock is in a folder, and every file in it can be read."""
    for name in tree(folder):
        assert not _TEMPORARY.search(name), name
        _read(folder / name)


def _read(path: Path) -> None:
    """Read a file that can be seen not to be whole."""
    if path.suffix == ".json":
        json.loads(path.read_text("utf-8"))
    elif path.suffix == ".npz":
        with zipfile.ZipFile(path) as file:
            assert file.testzip() is None, path
    elif path.suffix == ".safetensors":
        with safe_open(path, framework="pt") as tensors:
            assert list(tensors.keys()), path
    elif path.suffix in (".cif", ".pdb"):
        assert len(read_structure(path)) > 0, path
    elif path.suffix in (".html", ".svg", ".csv", ".tsv", ".jsonl"):
        end = {".html": "</html>", ".svg": "</svg>"}.get(path.suffix, "")
        text = path.read_text("utf-8")
        assert text.endswith("\n"), path
        assert text.rstrip().endswith(end), path


def half_written(failed: Tree, finished: Tree) -> list[str]:
    """What a failure left that a run which completes has no file of."""
    return [name for name in failed if name not in finished and not _RESUMED.search(name)]
