"""Files of folders and archives, read one by one, from archives that nobody vouches for."""

from __future__ import annotations

import gzip
import io
import os
import random
import struct
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from foldry.errors import InputError
from foldry.store import members as room
from foldry.store.members import MAX_MEMBERS, Member, Skipped, members_of

MOST = 2**20
FILES = {"a/one.txt": b"one", "a/two.txt": b"2" * 5000, "b.txt": b"", "c.cif": b"data_c\n" * 99}


def no_scratch() -> Path:
    raise AssertionError("nothing has to be unpacked")


def found(
    path: Path, scratch: Callable[[], Path] = no_scratch
) -> tuple[dict[str, bytes | str], list[str]]:
    """Return the content of each member, or the reason why there is none, and all problems."""
    skipped = Skipped()
    contents: dict[str, bytes | str] = {}
    for member in members_of([path], scratch, skipped, lambda name: (name,)):
        try:
            contents[member.name] = member.read(MOST)
        except InputError as error:
            contents[member.name] = error.what
    return contents, [str(each) for each in skipped.problems()]


def zipped(path: Path, files: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def tarred(path: Path, files: dict[str, bytes], *infos: tarfile.TarInfo, mode: str = "w") -> Path:
    with tarfile.open(path, mode) as tar:  # type: ignore[call-overload]
        for info in infos:
            tar.addfile(info)
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


def test_a_folder_and_its_archives_hold_the_same(tmp_path: Path) -> None:
    for name, content in FILES.items():
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / name).write_bytes(content)
    (tmp_path / "in" / ".hidden").touch()
    tarred(tmp_path / "t.tar", FILES)
    tarred(tmp_path / "t.tar.gz", FILES, mode="w:gz")
    zipped(tmp_path / "z.zip", FILES)
    zipped(tmp_path / "s.zip", FILES, zipfile.ZIP_STORED)
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    for name in ("in", "t.tar", "t.tar.gz", "z.zip", "s.zip"):
        assert found(tmp_path / name, lambda: scratch) == (FILES, [])


def test_packed_files_are_unpacked(tmp_path: Path) -> None:
    path = tarred(tmp_path / "t.tar", {"a.cif.gz": gzip.compress(b"data_a")})
    assert found(path)[0] == {"a.cif.gz": b"data_a"}


@pytest.mark.parametrize("name", ["../x.cif", "/etc/x.cif", "a/../../x.cif", "a\\..\\x.cif"])
@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_names_that_lead_out(name: str, kind: str, tmp_path: Path) -> None:
    path = tmp_path / f"a.{kind}"
    files = {name: b"data_", "good.cif": b"data_good"}
    if kind == "zip":
        zipped(path, files)
    else:
        tarred(path, files)
    contents, problems = found(path)
    assert contents == {"good.cif": b"data_good"}
    assert len(problems) == 1
    assert problems[0].endswith(", which leads out of the archive: it is left out.")
    assert list(tmp_path.iterdir()) == [path]


def test_links_and_devices(tmp_path: Path) -> None:
    infos = []
    for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE):
        info = tarfile.TarInfo(f"{kind!r}.cif")
        info.type, info.linkname = kind, "/etc/passwd"
        infos.append(info)
    path = tarred(tmp_path / "a.tar", {"good.cif": b"data_"}, *infos)
    contents, problems = found(path)
    assert list(contents) == ["good.cif"]
    assert [each.partition("hich ")[2] for each in problems] == [
        "is a link: they are left out.",
        "is a device or a sparse file: they are left out.",
    ]
    assert " has 2 files (e.g. " in problems[0]
    link = zipfile.ZipInfo("link.cif")
    link.external_attr = 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(link, "/etc/passwd")
    assert found(tmp_path / "a.zip")[0] == {}


def test_a_folder_with_links_and_pipes(tmp_path: Path) -> None:
    """A pipe would block its reader, and a link to a folder may be a circle."""
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "a.cif").write_bytes(b"data_")
    (folder / "circle").symlink_to(folder)
    (folder / "nothing").symlink_to(tmp_path / "missing")
    os.mkfifo(folder / "pipe.cif")
    contents, problems = found(folder)
    assert contents == {"a.cif": b"data_"}
    assert len(problems) == 2


def test_a_zip_bomb(tmp_path: Path) -> None:
    contents, problems = found(zipped(tmp_path / "a.zip", {"a.cif": bytes(50 * 2**20)}))
    assert contents == {"a.cif": "holds more than 1 MiB"}
    assert problems == []


def test_a_gzip_bomb_in_a_tar(tmp_path: Path) -> None:
    bomb = gzip.compress(bytes(50 * 2**20))
    assert found(tarred(tmp_path / "a.tar", {"a.cif.gz": bomb}))[0] == {
        "a.cif.gz": "holds more than 1 MiB"
    }


def test_a_packed_tar_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "MAX_UNPACKED", 2**20)
    path = tarred(tmp_path / "a.tar.gz", {"a.cif": bytes(100 * 2**20)}, mode="w:gz")
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    contents, problems = found(path, lambda: scratch)
    assert contents == {}
    assert len(problems) == 1
    assert "holds more than" in problems[0]
    assert list(scratch.iterdir()) == []


def test_files_that_overlap(tmp_path: Path) -> None:
    """As in Fifield's zip bomb, whose files share their content."""
    data = bytearray(
        zipped(tmp_path / "a.zip", {"a.cif": b"x" * 99, "b.cif": b"x" * 99}).read_bytes()
    )
    place = data.rfind(b"PK\1\2")
    data[place + 42 : place + 46] = struct.pack("<I", 0)
    (tmp_path / "a.zip").write_bytes(data)
    contents, problems = found(tmp_path / "a.zip")
    assert contents == {}
    assert "overlap" in problems[0]


def test_encrypted_and_unknown_methods(tmp_path: Path) -> None:
    path = zipped(tmp_path / "a.zip", {"a.cif": b"data_", "b.cif": b"data_"})
    data = bytearray(path.read_bytes())
    for place, flag in ((data.find(b"PK\1\2") + 8, 1), (data.rfind(b"PK\1\2") + 10, 98)):
        data[place : place + 2] = struct.pack("<H", flag)
    path.write_bytes(data)
    contents, problems = found(path)
    assert contents == {}
    assert [each.partition("hich ")[2] for each in problems] == [
        "is encrypted: it is left out.",
        "is packed by a method that is not supported: it is left out.",
    ]


def test_names_that_occur_twice(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        for content in (b"first", b"second"):
            info = tarfile.TarInfo("a.cif")
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    contents, problems = found(tmp_path / "a.tar")
    assert contents == {"a.cif": b"first"}
    assert "occurs twice" in problems[0]


def test_an_archive_in_an_archive(tmp_path: Path) -> None:
    inner = zipped(tmp_path / "in.zip", FILES).read_bytes()
    contents, problems = found(zipped(tmp_path / "a.zip", {"in.zip": inner}))
    assert contents == {}
    assert problems == [
        f"{tmp_path}/a.zip has 'in.zip', which is an archive in an archive: unpack the outer one."
    ]


def test_too_many_files(tmp_path: Path) -> None:
    """Names of a zip archive are counted before they are read."""
    path = zipped(tmp_path / "a.zip", {"a": b""})
    data = bytearray(path.read_bytes())
    place = data.rfind(b"PK\5\6")
    data[place + 8 : place + 12] = struct.pack("<HH", 0xFFFF, 0xFFFF)
    path.write_bytes(data)
    assert found(path) == (
        {},
        [f"{path} has more than {MAX_MEMBERS} files: unpack it and give the folder."],
    )


def test_too_many_files_of_zip64(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other end of the archive, which zipfile believes, may state another number."""
    monkeypatch.setattr(zipfile, "ZIP_FILECOUNT_LIMIT", 3)
    path = zipped(tmp_path / "a.zip", {f"{number}": b"" for number in range(9)})
    data = bytearray(path.read_bytes())
    place = data.rfind(b"PK\5\6")
    data[place + 8 : place + 20] = struct.pack("<HHII", 1, 1, 50, 0)
    path.write_bytes(data)
    assert len(zipfile.ZipFile(path).namelist()) == 9
    assert len(found(path)[0]) == 9
    monkeypatch.setattr(room, "MAX_MEMBERS", 8)
    assert "has more than 8 files" in found(path)[1][0]


def test_a_tar_of_very_many_files_takes_little_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "MAX_MEMBERS", 10)
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        for number in range(95):
            tar.addfile(tarfile.TarInfo(f"{number:03}"))
    read = found(tmp_path / "a.tar")[0]
    assert list(read) == [f"{number:03}" for number in range(95)]


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME])
def test_a_header_of_any_size(kind: bytes, tmp_path: Path) -> None:
    """A header states its own size, and tarfile would read it at once."""
    info = tarfile.TarInfo("x")
    info.type, info.size = kind, 8 * 2**30
    (tmp_path / "a.tar").write_bytes(info.tobuf(tarfile.GNU_FORMAT) + bytes(10_240))
    contents, problems = found(tmp_path / "a.tar")
    assert contents == {}
    assert "is damaged" in problems[0]


@pytest.mark.parametrize("kind", ["zip", "tar", "tar.gz"])
def test_damage(kind: str, tmp_path: Path) -> None:
    """Damage gives errors of input, or content that agrees with its checksum."""
    path = tmp_path / f"a.{kind}"
    if kind == "zip":
        zipped(path, FILES)
    else:
        tarred(path, FILES, mode="w:gz" if "gz" in kind else "w")
    whole, random_ = path.read_bytes(), random.Random(0)
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    for _ in range(150):
        data = bytearray(whole[: random_.randrange(1, len(whole) + 1)])
        data[random_.randrange(len(data))] = random_.randrange(256)
        path.write_bytes(data)
        contents, _ = found(path, lambda: scratch)
        if kind == "zip":
            assert all(
                isinstance(each, str) or each in FILES.values() for each in contents.values()
            )


def test_what_is_before_the_damage_is_read(tmp_path: Path) -> None:
    path = tarred(tmp_path / "a.tar", FILES)
    path.write_bytes(path.read_bytes()[:3000])
    contents, problems = found(path)
    assert contents == {"a/one.txt": b"one"}
    assert problems == [f"{path} is damaged (it is cut off): replace it."]


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        Member(tmp_path, "a.cif", 0).read(MOST)
