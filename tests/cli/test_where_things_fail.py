"""Disks that are full, places where nothing can be written, no HOME, no standard output.

For each command: one sentence, the right exit code, nothing half-written, and the rerun completes.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.cli.commands import (
    COMMANDS,
    MODEL,
    QUERIES,
    Command,
    Shell,
    assert_whole,
    chosen,
    command,
    foldry,
    half_written,
    inputs,
    tree,
)

__all__ = ["command", "foldry", "inputs"]
pytestmark = pytest.mark.slow
COMPUTING = 25.0
"""Seconds after which a command that must refuse its output is taken to be computing."""
PAGE = 4096
STRANGER = 12345
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs the rights of root")


# A disk that is full


@dataclass(frozen=True)
class Disk:
    """A file system of its own."""

    folder: Path

    def change(self, options: str) -> None:
        """Mount it with other options."""
        subprocess.run(["mount", "-o", f"remount,{options}", self.folder], check=True)

    def make_space(self) -> None:
        """Let it be much larger."""
        self.change("size=1g,nr_inodes=10000")


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Callable[[str], Disk]]:
    """Mounts a file system in memory; the test is skipped where that is not allowed."""
    folder = tmp_path / "disk"

    def mount(options: str) -> Disk:
        program = shutil.which("mount")
        if program is None or os.geteuid() != 0:
            pytest.skip("only root can mount a file system")
        folder.mkdir()
        arguments = [program, "-t", "tmpfs", "-o", options, "foldry-test", str(folder)]
        ended = subprocess.run(arguments, check=False, capture_output=True, text=True)
        if ended.returncode:
            pytest.skip(f"no file system can be mounted here: {ended.stderr.strip()}")
        return Disk(folder)

    yield mount
    if folder.is_mount():
        subprocess.run(["umount", folder], check=True)


def full_disk(disk: Callable[[str], Disk], room: int) -> Disk:
    """A disk with so many bytes left, in whole pages, or none."""
    small = disk(f"size={room // PAGE * PAGE + PAGE}")
    (small.folder / "ballast").write_bytes(bytes(PAGE))
    return small


def assert_names_what_is_full(sentence: str, out: Path) -> None:
    """The sentence says that the disk is full, and which file could not be written."""
    assert re.search(r"no space|disk is full|not enough space|\bfree\b", sentence, re.I), sentence
    assert str(out) in sentence
    assert not re.search(r"partial|tmp\w{8}", sentence.replace(str(out), "")), "a temporary name"


def test_full_disk(
    foldry: Shell, command: Command, disk: Callable[[str], Disk], tmp_path: Path
) -> None:
    full = full_disk(disk, command.room)
    out = command.place(full.folder)
    sentence = foldry(command.typed(out)).sentence(3)
    assert_names_what_is_full(sentence, out)
    assert not command.made(out).exists()
    left = tree(full.folder)
    assert_whole(full.folder)
    full.make_space()
    foldry(command.typed(out)).done()
    assert command.made(out).is_file()
    assert_whole(full.folder)
    assert half_written(left, tree(full.folder)) == []


def test_a_full_disk_ends_a_batch_at_once(foldry: Shell, disk: Callable[[str], Disk]) -> None:
    """Finished queries stay and are not computed again; later ones are not computed for nothing."""
    command = COMMANDS["fold"]
    full = full_disk(disk, command.room)
    out = command.place(full.folder)
    ended = foldry(command.typed(out))
    assert f"{out}/two" in ended.sentence(3)
    first, second, third = (out / name for name in QUERIES)
    finished = {path: path.stat().st_mtime_ns for path in first.iterdir()}
    assert (first / "report.html") in finished
    assert not (second / "report.html").exists()
    assert not third.exists()
    full.make_space()
    ended = foldry(command.typed(out))
    ended.done()
    assert re.search(r"\bone +already done\b.*\n two +done\b.*\n three +done\b", ended.out), (
        ended.out
    )
    assert {path: path.stat().st_mtime_ns for path in first.iterdir()} == finished


def test_a_disk_that_is_full_from_the_start(foldry: Shell, disk: Callable[[str], Disk]) -> None:
    command = COMMANDS["fold"]
    full = full_disk(disk, 0)
    out = command.place(full.folder)
    assert_names_what_is_full(foldry(command.typed(out)).sentence(3), out)
    assert [path for path in out.rglob("*") if path.is_file()] == []


def test_prepare_on_a_disk_that_is_full_in_the_end(
    foldry: Shell, disk: Callable[[str], Disk]
) -> None:
    """The disk fills while the packs are written, not while the files are read."""
    command = COMMANDS["train prepare"]
    full = full_disk(disk, 40 << 10)
    out = command.place(full.folder)
    assert_names_what_is_full(foldry(command.typed(out)).sentence(3), out)
    assert_whole(full.folder)
    assert not command.made(out).exists()
    full.make_space()
    ended = foldry(command.typed(out))
    ended.done()
    assert ended.out.startswith("4 chains kept")


def test_weights_without_room_for_one_more_file(foldry: Shell, disk: Callable[[str], Disk]) -> None:
    """The disk has free space, but no free inodes."""
    command = COMMANDS["weights get"]
    full = disk("size=1g,nr_inodes=2")
    out = command.place(full.folder)
    assert_names_what_is_full(foldry(command.typed(out)).sentence(3), out)
    assert [path for path in out.rglob("*") if path.is_file()] == []


@pytest.mark.parametrize("name", ["relax", "score --batch", "score --plot"])
def test_a_full_disk_keeps_the_older_file(
    foldry: Shell, name: str, disk: Callable[[str], Disk]
) -> None:
    command = chosen(name)
    full = full_disk(disk, PAGE)
    out = command.place(full.folder)
    out.write_text("older\n")
    before = tree(full.folder)
    foldry(command.typed(out)).sentence(3)
    assert tree(full.folder) == before


# Where nothing can be written


def assert_refused(foldry: Shell, words: list[str], folder: Path, *, says: str = "") -> None:
    """The command ends before it computes, says why, and leaves a folder as it was."""
    before = tree(folder)
    sentence = foldry(words, timeout=COMPUTING).sentence(2)
    assert tree(folder) == before
    assert says in sentence


def stranger() -> list[str]:
    """A program that runs another as a user whom the system does not know.

    The user may read everything, since Python itself may be in root's home, but write nothing that
    is another's; this also holds where a program only asks whether it may.
    """
    program = shutil.which("setpriv")
    if program is None:
        pytest.skip("needs setpriv")
    may_read = ["--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"]
    user = [f"--reuid={STRANGER}", f"--regid={STRANGER}", "--clear-groups"]
    return [program, "--securebits=+no_setuid_fixup", *user, *may_read]


def test_read_only_folder(foldry: Shell, command: Command, tmp_path: Path) -> None:
    folder = tmp_path / "read-only"
    folder.mkdir()
    folder.chmod(0o555)
    out = command.place(folder)
    as_stranger = stranger() if os.geteuid() == 0 else None
    ended = foldry(command.typed(out, heavy=True), prefix=as_stranger, timeout=COMPUTING)
    assert str(folder) in ended.sentence(2)
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("name", ["fold", "relax", "train run", "train unpack"])
def test_read_only_disk(foldry: Shell, name: str, disk: Callable[[str], Disk]) -> None:
    """The folder of the results exists, and even root cannot write in it."""
    command = chosen(name)
    mounted = disk("size=64k")
    mounted.change("ro")
    out = command.place(mounted.folder) if command.suffix else mounted.folder
    words = command.typed(out, heavy=True)
    assert_refused(foldry, words, mounted.folder, says=str(mounted.folder))


def test_dangling_link(foldry: Shell, command: Command, tmp_path: Path) -> None:
    folder = tmp_path / "results"
    folder.mkdir()
    out = command.place(folder)
    out.symlink_to(tmp_path / "nowhere" / "at all" / out.name)
    assert_refused(foldry, command.typed(out, heavy=True), tmp_path, says=str(out))


@pytest.mark.parametrize("name", ["fold", "relax", "score --batch"])
def test_dangling_link_to_a_folder_that_is_there(foldry: Shell, name: str, tmp_path: Path) -> None:
    command = chosen(name)
    folder = tmp_path / "results"
    folder.mkdir()
    out = command.place(folder)
    out.symlink_to(tmp_path / f"nothing{command.suffix}")
    assert_refused(foldry, command.typed(out, heavy=True), tmp_path, says=str(out))


def test_output_of_the_wrong_kind(foldry: Shell, command: Command, tmp_path: Path) -> None:
    folder = tmp_path / "results"
    folder.mkdir()
    out = command.place(folder)
    if command.suffix:
        out.mkdir()
    else:
        out.write_text("a file\n")
    assert_refused(foldry, command.typed(out, heavy=True), tmp_path, says=str(out))


@pytest.mark.parametrize("name", ["fold", "weights get", "train prepare", "train unpack"])
def test_folder_below_a_file(foldry: Shell, name: str, tmp_path: Path) -> None:
    command = chosen(name)
    file = tmp_path / "file"
    file.write_text("a file\n")
    out = command.place(file)
    assert_refused(foldry, command.typed(out, heavy=True), tmp_path, says=str(file))


@pytest.mark.parametrize(
    ("name", "inside", "is_folder"),
    [
        ("fold", "one", False),
        ("screen", "pairs", False),
        ("screen", "screen.csv", True),
        ("weights get", f"params_{MODEL}.npz", True),
        ("train run", "checkpoint.safetensors", True),
        ("train run", "ema.safetensors", True),
        ("train run", "log.jsonl", True),
    ],
)
def test_wrong_kind_inside_the_output(
    foldry: Shell, name: str, inside: str, is_folder: bool, tmp_path: Path
) -> None:
    command = chosen(name)
    out = command.place(tmp_path)
    path = out / inside
    out.mkdir()
    if is_folder:
        path.mkdir()
    else:
        path.write_text("a file\n")
    assert_refused(foldry, command.typed(out, heavy=True), tmp_path, says=str(path))


# A user without a home


@needs_root
@pytest.mark.parametrize(
    "words", [f"weights get --tar archive.tar --models {MODEL}", "weights list"]
)
def test_weights_need_a_home_or_a_folder(foldry: Shell, words: str) -> None:
    ended = foldry(words.split(), prefix=stranger(), home=False)
    assert "FOLDRY_WEIGHTS" in ended.sentence(2)
    assert ended.out == ""


@needs_root
@pytest.mark.parametrize("name", ["fold", "relax", "score --plot", "train run", "train prepare"])
def test_other_commands_need_no_home(foldry: Shell, name: str, tmp_path: Path) -> None:
    command = chosen(name)
    tmp_path.chmod(0o777)
    out = command.place(tmp_path)
    foldry(command.typed(out), prefix=stranger(), home=False).done()
    assert command.made(out).is_file()


# Standard output

PRINTING = ["score a.pdb b.pdb --csv", "weights list", "weights verify tiny.safetensors"]
"""Commands that write no file."""


def close_stdout() -> None:
    os.close(1)


@pytest.mark.parametrize("name", [*COMMANDS, *PRINTING])
def test_standard_output_is_closed(foldry: Shell, name: str, tmp_path: Path) -> None:
    words = name.split()
    if name in COMMANDS:
        command = chosen(name)
        words = command.typed(command.place(tmp_path / "results"), heavy=True)
    (tmp_path / "results").mkdir()
    before = tree(tmp_path)
    ended = foldry(words, before=close_stdout, timeout=COMPUTING)
    assert re.search("standard output|stdout", ended.sentence(2), re.IGNORECASE)
    assert tree(tmp_path) == before


@pytest.mark.parametrize("name", [*COMMANDS, *PRINTING])
def test_standard_output_is_full(foldry: Shell, name: str, tmp_path: Path) -> None:
    """The printed text is lost, but the files are not."""
    folder = tmp_path / "results"
    folder.mkdir()
    out = folder
    words = name.split()
    if name in COMMANDS:
        out = chosen(name).place(folder)
        words = chosen(name).typed(out)
    with Path("/dev/full").open("wb") as full:
        ended = foldry(words, stdout=full)
    if name == "train run":  # it prints nothing
        ended.done()
    else:
        assert re.search("standard output|stdout", ended.sentence(3), re.IGNORECASE)
    assert_whole(folder)
    if name in COMMANDS:
        assert chosen(name).made(out).is_file()
    if name == "fold":
        ended = foldry(words)
        ended.done()
        assert ended.out.count(" already done ") == len(QUERIES)


@pytest.mark.parametrize("name", ["fold", "weights get", "train pack", *PRINTING])
def test_the_reader_closes_standard_output(foldry: Shell, name: str, tmp_path: Path) -> None:
    """As in `foldry … | head -1`: a closed reader gets no message."""
    folder = tmp_path / "results"
    folder.mkdir()
    words = chosen(name).typed(chosen(name).place(folder)) if name in COMMANDS else name.split()
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "wb") as gone:
        ended = foldry(words, stdout=gone)
    assert ended.said == []
    assert ended.code in (0, 1, 141)
    assert_whole(folder)
    if name in COMMANDS:
        assert chosen(name).made(chosen(name).place(folder)).is_file()
