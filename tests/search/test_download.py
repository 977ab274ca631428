"""Official databases: fetched from servers with faults, unpacked, registered and searched."""

from __future__ import annotations

import gzip
import io
import os
import random
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest
import zstandard

from foldry.errors import BusyError, DiskFullError, FoldryError, InputError, OutsideError
from foldry.search import download
from foldry.search.databases import FASTA, HHSUITE, MMSEQS, Database, Registry, inspect
from foldry.search.download import Planned, PlannedFile, get, needed_space, plan
from foldry.search.hmmer import Hmmer
from foldry.search.official import Official, Part
from foldry.store.archives import unpack
from foldry.store.locks import hold
from tests.fuzz import mutate
from tests.search.publisher import Publisher, publish
from tests.weights.archive import Site, md5

SITE = "https://example.invalid/files"
CHANCE = random.Random(4)
PROTEINS = ["".join(CHANCE.choices("ARNDCQEGHILKMFPSTWYV", k=80)) for _ in range(120)]


def fasta(first: int, last: int, header: str = "") -> bytes:
    return "".join(f">p{n}{header}\n{PROTEINS[n]}\n" for n in range(first, last)).encode()


ONE = gzip.compress(fasta(0, 60))
TWO = gzip.compress(fasta(60, 120))
HH = {
    f"uniref_{part}.{end}": (b"a\t0\t4\n" if end == "ffindex" else b"data" * 800)
    for part in ("a3m", "cs219", "hhm")
    for end in ("ffdata", "ffindex")
}
MM = {"db": b"MKTAYI\n\0" * 400, "db.index": b"0\t0\t8\n", "db.dbtype": bytes(4), "db_tax": b"old"}


def official(name: str, kind: str, path: str, *parts: str, **more: Any) -> Official:
    addresses = tuple(Part(f"{SITE}/{part}") for part in parts)
    return Official(name, name.upper(), kind, path, addresses, 40_000, **more)


@pytest.fixture(autouse=True)
def catalogue(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small databases in place of the official ones, and no pauses between attempts."""
    listed = [
        official("one", FASTA, "one.fasta.gz", "one.fasta.gz"),
        official("both", FASTA, "both.fasta.gz", "one.fasta.gz", "two.fasta.gz"),
        official("seqres", FASTA, "seqres.fasta", "seqres.txt", only="mol:protein"),
        official("hh", HHSUITE, "uniref", "hh.tar.gz", ratio=100.0),
        official("mm", MMSEQS, "db", "mm.tar.gz", "tax.tar.zst", ratio=100.0),
    ]
    monkeypatch.setattr(download, "OFFICIAL", {each.name: each for each in listed})
    monkeypatch.setattr("foldry.store.download.PAUSES", (0.0, 0.0))
    monkeypatch.setattr("foldry.store.download.CHUNK", 1000)


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry(tmp_path / "registry")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "databases"


def member(name: str, kind: bytes = tarfile.REGTYPE, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def tar(files: dict[str, bytes], *extra: tarfile.TarInfo) -> bytes:
    """Return an archive of files, after hand-made members without content."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for info in extra:
            archive.addfile(info)
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def tgz(files: dict[str, bytes], *extra: tarfile.TarInfo) -> bytes:
    return gzip.compress(tar(files, *extra))


def fetch(site: Publisher, name: str, folder: Path, registry: Registry, **more: Any) -> Database:
    [found] = get([name], folder, registry, mirror=site.url, **more)
    return found


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def num_hits(database: Database, protein: int) -> int:
    [found] = Hmmer(database).query([PROTEINS[protein]])
    return found.num_rows - 1


def test_a_fasta_file_stays_packed_and_is_searched(folder: Path, registry: Registry) -> None:
    seen = []
    with publish(one__fasta__gz=ONE) as site:
        found = fetch(site, "one", folder, registry, progress=lambda *state: seen.append(state))
        assert site.fetched == [("one.fasta.gz", None)]
    assert (found.name, found.kind, found.num_sequences) == ("one", FASTA, 60)
    assert Path(found.path) == folder / "one" / "one.fasta.gz"
    assert Path(found.path).read_bytes() == ONE
    assert names(folder / "one") == ["one.fasta.gz"]
    assert registry.databases() == {"one": found}
    assert seen[-1] == ("one.fasta.gz", len(ONE), len(ONE))
    assert seen == sorted(seen)
    assert [num_hits(found, each) for each in (7, 70)] == [1, 0]


def test_what_is_done_is_not_done_again(folder: Path, registry: Registry) -> None:
    with publish(one__fasta__gz=ONE, hh__tar__gz=tgz(HH)) as site:
        both = get(["one", "hh", "one"], folder, registry, mirror=site.url)
        assert [each.name for each in both] == ["one", "hh"]
    # The server is gone.
    assert get(["one", "hh"], folder, registry, mirror=site.url) == both
    registry.remove("one")
    registry.remove("hh")
    assert get(["one", "hh"], folder, registry, mirror=site.url) == both
    assert [str(each) for each in plan(["one"], folder, registry)] == [
        f"ONE: already at {folder / 'one' / 'one.fasta.gz'}"
    ]


def test_a_database_registered_elsewhere_is_used(
    folder: Path, registry: Registry, tmp_path: Path
) -> None:
    mine = tmp_path / "mine.fasta"
    mine.write_bytes(fasta(0, 3))
    known = registry.add(mine, "one")
    assert get(["one"], folder, registry) == [known]
    mine.unlink()
    with publish(one__fasta__gz=ONE) as site:
        assert fetch(site, "one", folder, registry).num_sequences == 60


def test_two_files_become_one(folder: Path, registry: Registry) -> None:
    with publish(one__fasta__gz=ONE, two__fasta__gz=TWO) as site:
        found = fetch(site, "both", folder, registry)
    assert names(folder / "both") == ["both.fasta.gz"]
    assert gzip.decompress(Path(found.path).read_bytes()) == fasta(0, 120)
    assert found.num_sequences == 120
    assert [num_hits(found, each) for each in (7, 119)] == [1, 1]


def test_only_proteins_are_kept(folder: Path, registry: Registry) -> None:
    proteins = fasta(0, 3, " mol:protein length:80"), fasta(5, 7, " mol:protein length:80")
    other = b">1abc_B mol:na length:4  not mol:proteins\nACGT\nACGU\n"
    with publish(seqres__txt=proteins[0] + other + proteins[1]) as site:
        found = fetch(site, "seqres", folder, registry)
    assert Path(found.path).read_bytes() == b"".join(proteins)
    assert names(folder / "seqres") == ["seqres.fasta"]


def test_an_archive_is_unpacked_and_removed(folder: Path, registry: Registry) -> None:
    inside = {f"./release/{name}": content for name, content in HH.items()}
    folders = [member("./", tarfile.DIRTYPE), member("./release", tarfile.DIRTYPE)]
    inside |= {"./release/README": b"", "./README": b""}
    body = gzip.compress(tar(inside, *folders) + bytes(3 << 20))
    seen = []
    with publish(hh__tar__gz=Site(body, hash_header=md5(body))) as site:
        [planned] = plan(["hh"], folder, registry, mirror=site.url)
        found = fetch(site, "hh", folder, registry, progress=lambda *state: seen.append(state))
    assert planned.has_checksum and planned.on_disk == 100 * len(body)
    assert (found.kind, found.num_sequences) == (HHSUITE, 1)
    assert Path(found.path) == folder / "hh" / "uniref"
    assert {path.name: path.read_bytes() for path in (folder / "hh").iterdir()} == HH
    assert seen[-1] == ("hh.tar.gz", len(body), len(body))


def test_a_file_larger_than_what_is_read_at_once(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    large = bytes(5 * 2**20)
    (tmp_path / "large.tar").write_bytes(tar({"uniref": large}))
    unpack(tmp_path / "large.tar", tmp_path / "out", "uniref", 10**7, lambda *_: None)
    assert (tmp_path / "out/uniref").read_bytes() == large


def test_a_later_archive_corrects_an_earlier_one(folder: Path, registry: Registry) -> None:
    links = member("db_seq_h", tarfile.SYMTYPE, "db_h"), member("db_2", tarfile.LNKTYPE, "db_h")
    first, second = tgz({**MM, "db_h": b"headers"}, *links), tar({"db_tax": b"new"})
    with publish(mm__tar__gz=first, tax__tar__zst=zstandard.compress(second)) as site:
        found = fetch(site, "mm", folder, registry)
    place = folder / "mm"
    assert (found.kind, Path(found.path)) == (MMSEQS, place / "db")
    assert names(place) == sorted([*MM, "db_2", "db_h", "db_seq_h"])
    assert (place / "db_tax").read_bytes() == b"new"
    assert [(place / each).read_bytes() for each in ("db_seq_h", "db_2")] == [b"headers"] * 2


@pytest.mark.tools
@pytest.mark.skipif(shutil.which("mmseqs") is None, reason="the program mmseqs is missing")
def test_mmseqs_reads_what_was_unpacked(folder: Path, registry: Registry, tmp_path: Path) -> None:
    built = tmp_path / "built"
    built.mkdir()
    (built / "a.fasta").write_bytes(fasta(0, 9))
    run("mmseqs", "createdb", built / "a.fasta", built / "db")
    files = {f"release/{each.name}": each.read_bytes() for each in built.glob("db*")}
    with publish(mm__tar__gz=tgz(files), tax__tar__zst=tar({"db_tax": b""})) as site:
        found = fetch(site, "mm", folder, registry)
    run("mmseqs", "convert2fasta", found.path, tmp_path / "back.fasta")
    assert found.num_sequences == 9
    assert (tmp_path / "back.fasta").read_bytes() == fasta(0, 9)


def run(*command: object) -> None:
    subprocess.run([str(each) for each in command], check=True, capture_output=True)


def test_a_broken_transfer_resumes(folder: Path, registry: Registry) -> None:
    with publish(one__fasta__gz=Site(ONE, break_after=[2000, 1000])) as site:
        fetch(site, "one", folder, registry)
        ranges = [each for _, each in site.fetched]
    assert ranges == [None, "bytes=1999-", "bytes=2998-"]


def test_the_next_call_resumes(folder: Path, registry: Registry) -> None:
    with publish(
        one__fasta__gz=ONE, two__fasta__gz=Site(TWO, break_after=[1000, 900, 800])
    ) as site:
        with pytest.raises(OutsideError, match="run the same command again to resume"):
            fetch(site, "both", folder, registry)
        assert names(folder / "both") == [
            "one.fasta.gz",
            "two.fasta.gz.part",
            "two.fasta.gz.part.json",
        ]
        assert registry.databases() == {}
        [planned] = plan(["both"], folder, registry, mirror=site.url)
        assert planned.to_fetch == len(TWO) - 2698
        fetch(site, "both", folder, registry)
        assert [each for name, each in site.fetched if name == "one.fasta.gz"] == [None]
        assert site.fetched[-1] == ("two.fasta.gz", "bytes=2697-")
    assert names(folder / "both") == ["both.fasta.gz"]


def test_a_file_that_changed_between_two_attempts_is_begun_again(
    folder: Path, registry: Registry
) -> None:
    with publish(one__fasta__gz=Site(ONE, break_after=[900] * 3)) as site:
        with pytest.raises(OutsideError):
            fetch(site, "one", folder, registry)
        file = site.files["one.fasta.gz"]
        file.body, file.etag, file.break_after = TWO, '"two"', []
        found = fetch(site, "one", folder, registry)
    assert Path(found.path).read_bytes() == TWO


def test_a_server_that_is_busy_for_a_while(folder: Path, registry: Registry) -> None:
    with publish(one__fasta__gz=Site(ONE, break_after=[2000])) as site:
        site.files["one.fasta.gz"].status = 503
        with pytest.raises(OutsideError, match="503 Service Unavailable"):
            fetch(site, "one", folder, registry)
        assert not folder.exists()
        site.files["one.fasta.gz"].status = None
        site.statuses = [503]
        with pytest.raises(OutsideError, match="503 Service Unavailable"):
            fetch(site, "one", folder, registry)
        site.statuses = [0, 503]
        found = fetch(site, "one", folder, registry)
    assert found.num_sequences == 60


def test_a_wrong_checksum_of_the_server(folder: Path, registry: Registry) -> None:
    with publish(hh__tar__gz=Site(tgz(HH), hash_header=md5(b"other"))) as site:
        with pytest.raises(OutsideError, match="does not have the MD5 that its server states"):
            fetch(site, "hh", folder, registry)
        assert not folder.exists()


METALINK = """<?xml version="1.0"?><metalink version="3.0"><files>
<file name="other.gz"><verification><hash type="md5">{other}</hash></verification></file>
<file name="one.fasta.gz"><size>3</size>
 <verification><hash type="md5">{right}</hash></verification></file></files></metalink>"""


@pytest.mark.parametrize("state", ["right", "wrong", "missing", "no list"])
def test_the_checksum_that_the_publisher_lists(
    state: str, folder: Path, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    right, wrong = (digest(each) for each in (ONE, TWO))
    listed = METALINK.format(right=right if state == "right" else wrong, other=wrong)
    listed = listed.replace('"one.fasta.gz"', '"x"') if state == "missing" else listed
    with publish(one__fasta__gz=ONE, RELEASE=listed.encode()) as site:
        list_name = "missing" if state == "no list" else "RELEASE"
        part = Part(f"{site.url}/one.fasta.gz", f"{site.url}/{list_name}")
        entry = Official("one", "One", FASTA, "one.fasta.gz", (part,), 40_000)
        monkeypatch.setattr(download, "OFFICIAL", {"one": entry})
        [planned] = plan(["one"], folder, registry)
        if state == "wrong":
            with pytest.raises(OutsideError, match="the MD5 that its publisher states"):
                get(["one"], folder, registry)
            assert not folder.exists()
            return
        assert planned.has_checksum is (state == "right")
        assert str(planned).endswith(f"checksum {'known' if state == 'right' else 'unknown'}")
        [found] = get(["one"], folder, registry)
    assert found.num_sequences == 60


def digest(data: bytes) -> str:
    return subprocess.run(["md5sum"], input=data, capture_output=True, check=True).stdout.decode()[
        :32
    ]


def test_a_damaged_fasta_file_is_removed(folder: Path, registry: Registry) -> None:
    with publish(one__fasta__gz=ONE[:-200]) as site:
        with pytest.raises(OutsideError, match="is a damaged gzip file and was removed"):
            fetch(site, "one", folder, registry)
        assert not folder.exists() and registry.databases() == {}
        file = site.files["one.fasta.gz"]
        file.body, file.etag = ONE, '"two"'
        assert fetch(site, "one", folder, registry).num_sequences == 60


def test_a_damaged_registry_does_not_cost_the_database(folder: Path, registry: Registry) -> None:
    registry.folder.mkdir()
    listed = registry.folder / "databases.json"

    def damage(*_: object) -> None:
        listed.write_text("{")

    with publish(one__fasta__gz=ONE) as site:
        with pytest.raises(InputError, match="is not a list of databases"):
            fetch(site, "one", folder, registry, progress=damage)
        listed.unlink()
        assert fetch(site, "one", folder, registry).num_sequences == 60
        assert len(site.fetched) == 1


def free(monkeypatch: pytest.MonkeyPatch, bytes_: int) -> None:
    usage = type(shutil.disk_usage("/"))(bytes_, 0, bytes_)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)


def test_a_full_disk_is_seen_before_anything_is_fetched(
    folder: Path, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = tgz(HH)
    with publish(one__fasta__gz=ONE, hh__tar__gz=body) as site:
        free(monkeypatch, len(ONE) + 101 * len(body) - 1)
        with pytest.raises(DiskFullError, match="GB are needed"):
            get(["one", "hh"], folder, registry, mirror=site.url)
        assert site.fetched == [] and not folder.exists()
        free(monkeypatch, len(ONE) + 101 * len(body))
        get(["one", "hh"], folder, registry, mirror=site.url)


def test_a_disk_that_others_fill_meanwhile(
    folder: Path, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = tgz(HH)
    kind = type(shutil.disk_usage("/"))
    left = [101 * len(body), 101 * len(body) - 1]
    monkeypatch.setattr(shutil, "disk_usage", lambda _: kind(0, 0, left.pop(0)))
    with publish(hh__tar__gz=body) as site, pytest.raises(DiskFullError, match="GB are needed"):
        fetch(site, "hh", folder, registry)
    assert not folder.exists()


def test_a_resumed_download_needs_room_for_the_rest(
    folder: Path, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    with publish(one__fasta__gz=Site(ONE, break_after=[1000, 0, 0]), two__fasta__gz=TWO) as site:
        with pytest.raises(OutsideError, match="to resume"):
            fetch(site, "both", folder, registry)
        [planned] = plan(["both"], folder, registry, mirror=site.url)
        needed = planned.to_fetch + planned.to_unpack + 1  # one byte is fetched again
        assert needed == 2 * (len(ONE) + len(TWO)) - planned.files[0].arrived + 1
        kind = type(shutil.disk_usage("/"))
        left = [needed, needed - 1]
        monkeypatch.setattr(shutil, "disk_usage", lambda _: kind(0, 0, left.pop(0)))
        with pytest.raises(DiskFullError, match="GB are needed"):
            fetch(site, "both", folder, registry)
        monkeypatch.setattr(shutil, "disk_usage", lambda _: kind(0, 0, needed))
        fetch(site, "both", folder, registry)


def test_a_disk_that_fills_up_while_unpacking_keeps_the_archive(
    folder: Path, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with publish(hh__tar__gz=tgz(HH)) as site:
        with monkeypatch.context() as patch, pytest.raises(DiskFullError) as caught:
            patch.setattr(shutil, "copyfileobj", full)
            fetch(site, "hh", folder, registry)
        assert caught.value.where == str(folder / "hh")
        assert names(folder / "hh") == ["hh.tar.gz"]
        fetch(site, "hh", folder, registry)
        assert len(site.fetched) == 1


def header_bomb() -> bytes:
    info = member("./PaxHeaders/x", tarfile.XHDTYPE)
    info.size = 1 << 26
    return gzip.compress(info.tobuf(tarfile.GNU_FORMAT) + bytes(info.size))


LINK = "is a link elsewhere"
DEVICE = "is a device or a sparse file"
BAD_ARCHIVES = {
    "absolute": (lambda: tgz(HH, member("/tmp/uniref_evil")), "leads out of its folder"),
    "parent": (lambda: tgz(HH, member("../uniref_evil")), "leads out of its folder"),
    "hidden parent": (lambda: tgz(HH, member("a/../../uniref_evil")), "leads out of its folder"),
    "not ours": (lambda: tgz(HH, member("../evil")), "leads out of its folder"),
    "link out": (lambda: tgz(HH, member("uniref_x", tarfile.SYMTYPE, "/etc/passwd")), LINK),
    "link up": (lambda: tgz(HH, member("uniref_x", tarfile.SYMTYPE, "../../registry")), LINK),
    "link to parent": (lambda: tgz(HH, member("uniref_x", tarfile.SYMTYPE, "..")), LINK),
    "link to itself": (lambda: tgz(HH, member("uniref_x", tarfile.SYMTYPE, "uniref_x")), LINK),
    "hard link out": (lambda: tgz(HH, member("a/uniref_x", tarfile.LNKTYPE, "/etc/passwd")), LINK),
    "link to nothing": (
        lambda: tgz(HH, member("uniref_x", tarfile.SYMTYPE, "uniref_y")),
        "which is a link to no file",
    ),
    "link to a link": (
        lambda: tgz(
            HH,
            member("uniref_x", tarfile.SYMTYPE, "uniref_a3m.ffdata"),
            member("uniref_y", tarfile.SYMTYPE, "uniref_x"),
        ),
        "which is a link to no file",
    ),
    "device": (
        lambda: tgz(HH, member("uniref_x", tarfile.CHRTYPE)),
        DEVICE,
    ),
    "pipe": (lambda: tgz(HH, member("uniref_x", tarfile.FIFOTYPE)), DEVICE),
    "sparse": (
        lambda: tgz(HH, member("uniref_x", tarfile.GNUTYPE_SPARSE)),
        DEVICE,
    ),
    "twice": (lambda: tgz({**HH, "a/uniref_a3m.ffdata": b""}), "occurs twice"),
    "bomb": (lambda: tgz({**HH, "uniref_x": bytes(10**6)}), "makes it larger than 0.0 GB"),
    "other bomb": (lambda: tgz({"x": bytes(10**6), **HH}), "makes it larger than 0.0 GB"),
    "header bomb": (header_bomb, "has a header that is too large"),
    "no tar": (lambda: gzip.compress(b"PK\x03\x04" * 1000), "is not a complete tar archive"),
    "not packed": (lambda: b"PK\x03\x04" * 1000, "is not a complete tar archive"),
    "empty": (lambda: gzip.compress(b""), "is not a complete tar archive"),
    "cut": (lambda: tgz(HH)[:-30], "is a damaged gzip file"),
    "cut tar": (lambda: gzip.compress(tar(HH)[:1500]), "is not a complete tar archive"),
    "wrong gzip checksum": (lambda: tgz(HH)[:-8] + bytes(8), "is a damaged gzip file"),
    "wrong gzip checksum after padding": (
        lambda: gzip.compress(tar(HH) + bytes(3 << 20))[:-8] + bytes(8),
        "is a damaged gzip file",
    ),
    "another database": (lambda: tgz(MM), "does not hold the whole database uniref"),
    "a file short": (
        lambda: tgz({name: HH[name] for name in HH if name != "uniref_cs219.ffdata"}),
        "does not hold the whole database uniref",
    ),
}


@pytest.mark.parametrize("case", BAD_ARCHIVES)
def test_a_bad_archive_gets_one_sentence(
    case: str, folder: Path, registry: Registry, tmp_path: Path
) -> None:
    make, sentence = BAD_ARCHIVES[case]
    damaged = "damaged" in sentence or "not a complete" in sentence
    error = OutsideError if damaged else InputError
    with publish(hh__tar__gz=make()) as site, pytest.raises(error) as caught:
        fetch(site, "hh", folder, registry)
    assert sentence in str(caught.value)
    assert str(caught.value).isprintable()
    assert registry.databases() == {}
    # A damaged archive would fail for ever; one that is refused may be unpacked by its owner.
    assert names(folder / "hh") == ["hh.tar.gz"] if not damaged else not folder.exists()
    assert not (tmp_path / "uniref_evil").exists() and not Path("/tmp/uniref_evil").exists()


def test_an_archive_with_damaged_headers_is_read_or_gets_one_sentence(tmp_path: Path) -> None:
    sound = tar({f"a/{name}": content for name, content in HH.items()})
    archive, out = tmp_path / "hh.tar", tmp_path / "out"
    out.mkdir()
    refused = 0
    for number in range(300):
        chance = random.Random(number)
        start = chance.choice([at for at in range(0, 3000, 512) if sound[at : at + 2] == b"a/"])
        header = mutate.bytes_(chance, sound[start : start + 512])
        if chance.randrange(3) == 0:  # one that states another kind or size, with its checksum
            info = member("a/uniref_x", chance.choice([b"x", b"g", b"L", b"K", b"S", b"2", b"?"]))
            info.size = chance.choice((0, 1, 600, 1 << 40, (1 << 60) - 1))
            header = info.tobuf(tarfile.GNU_FORMAT)
        archive.write_bytes(sound[:start] + header + sound[start + 512 :])
        try:
            unpack(archive, out, "uniref", 10**5, lambda *_: None)
        except (InputError, OutsideError) as error:
            refused += 1
            assert str(error).isprintable() and len(str(error)) < 1000
        assert all(each.name.startswith("uniref") for each in out.iterdir())
    assert 100 < refused < 300
    assert names(tmp_path) == ["hh.tar", "out"]


def test_an_interrupted_unpacking_is_not_taken_for_a_database(
    folder: Path, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, written = shutil.copyfileobj, []

    def interrupt(source: Any, target: Any, size: int) -> None:
        written.append(target.name)
        if len(written) == 5:
            raise KeyboardInterrupt
        real(source, target, size)

    with publish(hh__tar__gz=tgz(HH)) as site:
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(shutil, "copyfileobj", interrupt)
            fetch(site, "hh", folder, registry)
        assert names(folder / "hh") == ["hh.tar.gz"]
        with pytest.raises(InputError, match="does not exist"):
            inspect(folder / "hh" / "uniref")
        fetch(site, "hh", folder, registry)
        assert len(site.fetched) == 1
    assert names(folder / "hh") == sorted(HH)


KILLED = """
import os, shutil, sys
from pathlib import Path
from foldry.search import download
from foldry.search.databases import HHSUITE, Registry
from foldry.search.official import Official, Part
folder, registry = map(Path, sys.argv[1:])
part = (Part("https://example.invalid/files/hh.tar.gz"),)
download.OFFICIAL = {"hh": Official("hh", "HH", HHSUITE, "uniref", part, 40_000, 100.0)}
real = Path.replace
def replace(self, target):
    if target.name.startswith("uniref") and len(list(folder.glob("hh/uniref*"))) == 5:
        os.kill(os.getpid(), 9)
    return real(self, target)
Path.replace = replace
download.get(["hh"], folder, Registry(registry))
"""


def test_a_process_killed_while_it_moves_the_files(folder: Path, registry: Registry) -> None:
    (folder / "hh").mkdir(parents=True)
    (folder / "hh" / "hh.tar.gz").write_bytes(tgz(HH))
    command = [sys.executable, "-c", KILLED, str(folder), str(registry.folder)]
    assert subprocess.run(command, check=False).returncode == -9
    assert "hh.tar.gz" in names(folder / "hh") and "uniref_a3m.ffindex" not in names(folder / "hh")
    with pytest.raises(InputError, match="does not exist"):
        inspect(folder / "hh" / "uniref")
    [found] = get(["hh"], folder, registry)
    assert {path.name: path.read_bytes() for path in (folder / "hh").iterdir()} == HH
    assert found.num_sequences == 1


def test_two_at_once_are_refused(folder: Path, registry: Registry) -> None:
    with publish(one__fasta__gz=ONE, hh__tar__gz=tgz(HH)) as site, hold(folder / "one"):
        with pytest.raises(BusyError, match="one is in use by another process"):
            fetch(site, "one", folder, registry)
        fetch(site, "hh", folder, registry)  # another database is free


def test_a_database_that_another_process_completed_meanwhile(
    folder: Path, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    with publish(hh__tar__gz=tgz(HH)) as site:
        planned = plan(["hh"], folder, registry, mirror=site.url)
        fetch(site, "hh", folder, registry)
        monkeypatch.setattr(download, "plan", lambda *_, **__: planned)
        fetch(site, "hh", folder, registry)
        assert len(site.fetched) == 1


@pytest.mark.parametrize(
    ("change", "error", "sentence"),
    [
        ({"names": ["uniref91"]}, InputError, "No database called 'uniref91' can be downloaded"),
        ({"mirror": "ftp://here"}, InputError, "is not an address"),
        ({"names": ["hh"]}, OutsideError, "404 Not Found"),
        ({"site": Site(ONE, wrong_length=200_000)}, OutsideError, "cannot have the size"),
        ({"registry": "{"}, InputError, "is not a list of databases"),
        ({"folder": "file"}, InputError, "is a file"),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_fetched(
    change: dict[str, Any],
    error: type[FoldryError],
    sentence: str,
    folder: Path,
    registry: Registry,
) -> None:
    if text := change.get("registry"):
        registry.folder.mkdir()
        (registry.folder / "databases.json").write_text(text)
    if change.get("folder"):
        folder.write_text("")
    with (
        publish(one__fasta__gz=change.get("site", ONE)) as site,
        pytest.raises(error, match=sentence) as caught,
    ):
        mirror = change.get("mirror", site.url)
        get(change.get("names", ["one"]), folder, registry, mirror=mirror)
    assert str(caught.value).isprintable() and site.fetched == []
    assert not folder.is_dir()


def test_the_plan_says_what_is_needed(folder: Path, registry: Registry) -> None:
    body = tgz(HH)
    with publish(one__fasta__gz=ONE, hh__tar__gz=body) as site:
        planned = plan(["hh", "one"], folder, registry, mirror=site.url)
        assert site.asked == ["hh.tar.gz", "one.fasta.gz"] and site.fetched == []
    assert [(each.to_fetch, each.on_disk) for each in planned] == [
        (len(body), 100 * len(body)),
        (len(ONE), len(ONE)),
    ]
    assert not folder.exists()
    # The archive is gone before the other file is fetched.
    assert needed_space(planned) == max(101 * len(body), 100 * len(body) + len(ONE))
    assert needed_space(planned[::-1]) == len(ONE) + 101 * len(body)
    assert needed_space([]) == 0


def test_a_plan_is_one_line() -> None:
    entry = official("hh", HHSUITE, "uniref", "hh.tar.gz", ratio=4.0)
    file = PlannedFile("", Path("hh.tar.gz"), 52_500_000_000, 500_000_000)
    planned = Planned(entry, Path("uniref"), files=(file,))
    assert str(planned) == "HH: 52 GB to fetch, 210 GB on disk, checksum unknown"
    small = PlannedFile("", Path("a.fa"), 240_000_000, 0, has_checksum=True)
    there = PlannedFile("", Path("b.fa"), 10_000_000, 10_000_000)
    planned = Planned(official("a", FASTA, "a.fa", "a.fa"), Path("a.fa"), files=(small, there))
    assert str(planned) == "A: 0.2 GB to fetch, 0.2 GB on disk, checksum known"


def test_an_archive_that_was_downloaded_by_other_means(folder: Path, registry: Registry) -> None:
    (folder / "hh").mkdir(parents=True)
    (folder / "hh" / "hh.tar.gz").write_bytes(tgz(HH))
    [planned] = plan(["hh"], folder, registry)
    assert planned.to_fetch == 0 and planned.on_disk > 0
    [found] = get(["hh"], folder, registry)
    assert found.num_sequences == 1


def test_files_are_on_the_disk_before_the_archive_is_removed(
    folder: Path, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "hh").mkdir(parents=True)
    archive = folder / "hh" / "hh.tar.gz"
    archive.write_bytes(tgz(HH))
    seen = []
    monkeypatch.setattr(os, "fsync", lambda _: seen.append(archive.exists()))
    get(["hh"], folder, registry)
    assert seen[: len(HH)] == [True] * len(HH)
