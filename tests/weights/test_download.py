"""The archive of parameters: fetched from servers with faults, and unpacked."""

from __future__ import annotations

import hashlib
import os
import shutil
import socket
import stat
import tarfile
from pathlib import Path
from random import Random
from typing import Any, NamedTuple
from urllib.error import URLError

import numpy as np
import pytest

from foldry.errors import BusyError, DiskFullError, InputError, OutsideError
from foldry.store.locks import hold
from foldry.weights import download
from foldry.weights.download import get, unpack
from tests.fuzz import mutate
from tests.weights.archive import (
    Site,
    md5,
    npz,
    official_archive,
    parameters,
    serve,
    small_models,
    tar,
)

__all__ = ["small_models"]
pytestmark = pytest.mark.usefixtures("small_models")
MODEL = "model_3_ptm"
FILE = f"params_{MODEL}.npz"


@pytest.fixture(scope="module")
def archive() -> bytes:
    return official_archive("model_1_ptm", MODEL)


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("foldry.store.download.PAUSES", (0.0, 0.0))
    monkeypatch.setattr("foldry.store.download.CHUNK", 1000)


def same_parameters(path: Path, model: str) -> bool:
    with np.load(path, allow_pickle=False) as file:
        expected = parameters(model)
        return set(file.files) == set(expected) and all(
            np.array_equal(file[name], array) for name, array in expected.items()
        )


def names(folder: Path) -> list[str]:
    """Return the names in a folder, without the list of the archive's requested models."""
    return sorted(path.name for path in folder.iterdir() if path.name != download.WANTED_NAME)


def fetch_from(site: Site, folder: Path, **more: Any) -> download.Fetched:
    return get([MODEL], folder, url=site.url, **more)


def test_only_requested_models_are_unpacked(tmp_path: Path, archive: bytes) -> None:
    seen = []
    with serve(Site(archive)) as site:
        fetched = fetch_from(site, tmp_path, progress=lambda *state: seen.append(state))
    assert fetched.paths == fetched.new == [tmp_path / FILE]
    assert fetched.checksum == "unknown: the server states none"
    assert names(tmp_path) == ["LICENSE", FILE]
    assert same_parameters(tmp_path / FILE, MODEL)
    assert seen[-1] == (len(archive), len(archive))
    assert seen == sorted(seen)


def test_existing_files_are_not_fetched_again(tmp_path: Path, archive: bytes) -> None:
    with serve(Site(archive)) as site:
        fetch_from(site, tmp_path)
        fetched = fetch_from(site, tmp_path)
        assert len(site.requests) == 1
        assert fetched.new == []
        more = get([MODEL, "model_1_ptm"], tmp_path, url=site.url)
    assert more.new == [tmp_path / "params_model_1_ptm.npz"]


@pytest.mark.parametrize(
    ("header", "checksum"),
    [
        ("md5", "md5 {md5}, as the server states it"),
        ("crc32c=n03x6A==", "unknown: the server states only a CRC-32C, which is not checked"),
        (None, "unknown: the server states none"),
    ],
)
def test_the_checksum_is_what_the_server_states(
    tmp_path: Path, archive: bytes, header: str | None, checksum: str
) -> None:
    header = md5(archive) if header == "md5" else header
    with serve(Site(archive, hash_header=header)) as site:
        fetched = fetch_from(site, tmp_path)
    digest = hashlib.md5(archive, usedforsecurity=False).hexdigest()
    assert fetched.checksum == checksum.format(md5=digest)


def test_a_given_sha256_is_compared(tmp_path: Path, archive: bytes) -> None:
    digest = hashlib.sha256(archive).hexdigest()
    with serve(Site(archive)) as site:
        with pytest.raises(InputError, match="has the SHA-256"):
            fetch_from(site, tmp_path, sha256="0" * 64)
        # The hash may have been mistyped, so the fetched file is kept.
        fetched = fetch_from(site, tmp_path, sha256=digest.upper())
    assert site.requests == [None, f"bytes={len(archive) - 1}-"]
    assert fetched.checksum == f"sha256 {digest}, as you gave it"


def test_a_transfer_that_breaks_off_resumes_automatically(
    tmp_path: Path, archive: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "foldry")
    site = Site(archive, hash_header=md5(archive), break_after=[3000, 2000])
    with serve(site):
        fetched = fetch_from(site, tmp_path)
    assert site.requests == [None, "bytes=2999-", "bytes=4998-"]
    assert ["attempt 2 of 3" in line for line in caplog.messages] == [True, False]
    assert fetched.checksum.startswith("md5")
    assert same_parameters(tmp_path / FILE, MODEL)


def test_a_transfer_that_keeps_breaking_off_can_be_resumed(tmp_path: Path, archive: bytes) -> None:
    site = Site(archive, hash_header=md5(archive), break_after=[3000, 2000, 1000])
    with serve(site):
        with pytest.raises(
            OutsideError, match=r"broke off after .* bytes.*run the same command again to resume"
        ):
            fetch_from(site, tmp_path)
        part = tmp_path / (download.ARCHIVE_NAME + ".part")
        assert part.read_bytes() == archive[:5998]
        assert names(tmp_path) == [part.name, part.name + ".json"]
        fetch_from(site, tmp_path)
    assert site.requests[-1] == "bytes=5997-"
    assert names(tmp_path) == ["LICENSE", FILE]
    assert same_parameters(tmp_path / FILE, MODEL)


def test_a_part_without_usable_notes_is_fetched_again(tmp_path: Path, archive: bytes) -> None:
    part = tmp_path / (download.ARCHIVE_NAME + ".part")
    for notes in (None, "{", '{"url": 1}', "[]"):
        part.write_bytes(b"other bytes")
        if notes is not None:
            part.with_name(part.name + ".json").write_text(notes)
        with serve(Site(archive)) as site:
            fetch_from(site, tmp_path)
        assert site.requests == [None]
        (tmp_path / FILE).unlink()


@pytest.mark.parametrize("etag", [None, 'W/"weak"'])
def test_without_a_strong_tag_a_transfer_begins_again(
    tmp_path: Path, archive: bytes, etag: str | None
) -> None:
    with serve(Site(archive, etag=etag, break_after=[3000])) as site:
        fetch_from(site, tmp_path)
    assert site.requests == [None, None]
    assert same_parameters(tmp_path / FILE, MODEL)


def test_a_server_that_ignores_range_sends_all_of_it(tmp_path: Path, archive: bytes) -> None:
    site = Site(archive, hash_header=md5(archive), break_after=[3000], ignore_range=True)
    with serve(site):
        fetch_from(site, tmp_path)
    assert same_parameters(tmp_path / FILE, MODEL)


def broken_off(site: Site, folder: Path) -> None:
    """Leave a part of the site's archive in the folder."""
    site.break_after = [3000] * 3
    with pytest.raises(OutsideError):
        fetch_from(site, folder)
    site.break_after = []


def test_a_file_changed_between_two_parts_is_begun_again(tmp_path: Path, archive: bytes) -> None:
    other = official_archive(MODEL)
    with serve(Site(archive)) as site:
        broken_off(site, tmp_path)
        site.body, site.etag, site.hash_header = other, '"two"', md5(other)
        fetched = fetch_from(site, tmp_path)
    assert fetched.checksum.startswith("md5")


class Lie(NamedTuple):
    """What a server does to the second half of a transfer."""

    change: dict[str, Any]
    sentence: str


@pytest.mark.parametrize(
    "lie",
    [
        Lie({"etag": '"two"', "ignore_if_range": True}, "has changed"),
        Lie({"wrong_range": "bytes 0-5/6"}, "has changed"),
        Lie({"wrong_length": 100}, "has changed"),
    ],
)
def test_parts_of_two_files_are_never_joined(tmp_path: Path, archive: bytes, lie: Lie) -> None:
    with serve(Site(archive)) as site:
        broken_off(site, tmp_path)
        for name, value in lie.change.items():
            setattr(site, name, value)
        with pytest.raises(OutsideError, match=lie.sentence):
            fetch_from(site, tmp_path)
    assert not any(name.endswith(".part") for name in names(tmp_path))


@pytest.mark.parametrize(
    "lie",
    [
        Lie({"status": 404}, "answers 404 Not Found for"),
        Lie({"status": 403}, "answers 403 Forbidden for"),
        Lie({"status": 503}, "answers 503 Service Unavailable"),
        Lie({"content_type": "text/html; charset=utf-8"}, "is a web page"),
        Lie({"wrong_length": 1 << 40}, "have the size that its server states"),
        Lie({"redirect": "ftp://127.0.0.1:1/"}, "could not be fetched"),
    ],
)
def test_an_answer_that_is_not_an_archive_leaves_nothing(
    tmp_path: Path, archive: bytes, lie: Lie
) -> None:
    with serve(Site(archive, **lie.change)) as site, pytest.raises(OutsideError) as caught:
        fetch_from(site, tmp_path)
    assert lie.sentence in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(site.requests) == 1
    assert names(tmp_path) == []


def test_a_content_length_that_is_too_long_is_a_broken_transfer(
    tmp_path: Path, archive: bytes
) -> None:
    with (
        serve(Site(archive, wrong_length=10)) as site,
        pytest.raises(OutsideError, match=r"has changed|broke off"),
    ):
        fetch_from(site, tmp_path)
    assert FILE not in names(tmp_path)


def test_a_content_length_that_is_too_short_gives_an_incomplete_archive(
    tmp_path: Path, archive: bytes
) -> None:
    with (
        serve(Site(archive, wrong_length=-len(archive) // 2)) as site,
        pytest.raises(InputError, match="not a complete tar archive"),
    ):
        fetch_from(site, tmp_path)
    assert names(tmp_path) == []


def test_a_wrong_hash_header_removes_the_file(tmp_path: Path, archive: bytes) -> None:
    with serve(Site(archive, hash_header=md5(b"another"))) as site:
        with pytest.raises(OutsideError, match="does not have the MD5 that its server states"):
            fetch_from(site, tmp_path)
        assert names(tmp_path) == []
        site.hash_header = md5(archive)
        fetch_from(site, tmp_path)
    assert site.requests == [None, None]


def test_a_web_page_that_is_called_an_archive(tmp_path: Path) -> None:
    with (
        serve(Site(b"<!DOCTYPE html><title>Log in</title>")) as site,
        pytest.raises(InputError, match="not a complete tar archive"),
    ):
        fetch_from(site, tmp_path)
    assert names(tmp_path) == []


def test_a_server_that_is_not_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise URLError(socket.gaierror(-2, "Name or service not known"))

    monkeypatch.setattr("urllib.request.urlopen", fail)
    with pytest.raises(OutsideError, match=r"\(the server was not found\): check the network"):
        get((MODEL,), tmp_path, url="https://example.invalid/a.tar")


def test_no_server(tmp_path: Path) -> None:
    with serve(Site(b"")) as site:
        pass
    with pytest.raises(OutsideError, match=r"could not be fetched \(Connection refused\)"):
        fetch_from(site, tmp_path)
    assert names(tmp_path) == []


@pytest.mark.parametrize(
    "url", ["", "example.org/a.tar", "file:///etc/passwd", "http://", "http://a b/", "http://[::1"]
)
def test_invalid_addresses_are_refused(tmp_path: Path, url: str) -> None:
    with pytest.raises(InputError, match="is not an address"):
        get([MODEL], tmp_path, url=url)
    assert names(tmp_path) == []


def test_a_full_disk_is_seen_before_anything_is_written(
    tmp_path: Path, archive: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = len(archive) + 1000
    usage = type(shutil.disk_usage(tmp_path))(free, 0, free)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with serve(Site(archive)) as site, pytest.raises(DiskFullError, match="GB are needed"):
        fetch_from(site, tmp_path)
    local = tmp_path / "local.tar"
    local.write_bytes(archive)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: type(usage)(10, 0, 10))
    with pytest.raises(DiskFullError, match="GB are needed"):
        get([MODEL], tmp_path, tar=local)
    assert names(tmp_path) == ["local.tar"]


def test_a_disk_that_fills_up_while_unpacking_keeps_the_archive(
    tmp_path: Path, archive: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with serve(Site(archive)) as site:
        with monkeypatch.context() as patch:
            patch.setattr(shutil, "copyfileobj", full)
            with pytest.raises(DiskFullError, match="LICENSE cannot be written because no space"):
                fetch_from(site, tmp_path)
        assert names(tmp_path) == [download.ARCHIVE_NAME]
        fetched = fetch_from(site, tmp_path)
    assert len(site.requests) == 1
    assert fetched.checksum == "unknown: fetched earlier"
    assert names(tmp_path) == ["LICENSE", FILE]


def test_two_at_once_are_refused(tmp_path: Path) -> None:
    with hold(tmp_path), pytest.raises(BusyError, match="is in use"):
        get([MODEL], tmp_path, url="http://127.0.0.1:1/")


def test_a_process_killed_at_its_end_leaves_no_archive_for_ever(
    tmp_path: Path, archive: bytes
) -> None:
    with serve(Site(archive)) as site:
        fetch_from(site, tmp_path)
        (tmp_path / download.ARCHIVE_NAME).write_bytes(archive)
        wanted = tmp_path / download.WANTED_NAME
        wanted.write_text(f'["{MODEL}", "model_1_ptm"]')
        fetch_from(site, tmp_path)
        assert names(tmp_path) == ["LICENSE", download.ARCHIVE_NAME, FILE], "model_1_ptm needs it"
        wanted.write_text(f'["{MODEL}"]')
        with hold(tmp_path):
            assert fetch_from(site, tmp_path).new == [], "existing files need no lock"
        fetch_from(site, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["LICENSE", FILE]


def member(name: str, kind: bytes = tarfile.REGTYPE, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def with_member(info: tarfile.TarInfo) -> bytes:
    return tar({info.name: info, FILE: npz(parameters(MODEL))})


def one_array_changed(change: str) -> bytes:
    arrays = parameters(MODEL)
    name = sorted(arrays)[0]
    if change == "missing":
        del arrays[name]
    elif change == "shape":
        arrays[name] = arrays[name][..., :-1]
    elif change == "nan":
        arrays[name].flat[0] = np.nan
    elif change == "dtype":
        arrays[name] = arrays[name].astype(np.int32)
    return tar({FILE: npz(arrays)})


def oversized() -> bytes:
    info = tarfile.TarInfo("params_model_9.npz")
    info.size = 1 << 33
    return info.tobuf() + bytes(1024)


BAD_ARCHIVES = {
    "parent": (lambda: with_member(member("../evil")), "leads out of its folder"),
    "absolute": (lambda: with_member(member("/tmp/evil")), "leads out of its folder"),
    "hidden parent": (lambda: with_member(member("a/../../evil")), "leads out of its folder"),
    "symbolic link": (
        lambda: with_member(member("LICENSE", tarfile.SYMTYPE, "/etc/passwd")),
        "a link or a device",
    ),
    "hard link": (lambda: with_member(member("x", tarfile.LNKTYPE, FILE)), "a link or a device"),
    "device": (lambda: with_member(member("x", tarfile.CHRTYPE)), "a link or a device"),
    "twice": (lambda: with_member(member(f"params/{FILE}")), "occurs twice"),
    "too large": (oversized, "too large"),
    "another model": (lambda: official_archive("model_1_ptm"), f"has no {MODEL}"),
    "no tar": (lambda: b"PK\x03\x04" * 1000, "not a complete tar archive"),
    "cut short": (lambda: official_archive(MODEL)[:-20_000], "not a complete tar archive"),
    "no npz": (lambda: tar({FILE: b"<html>"}), "cannot be read as parameters"),
    "cut npz": (lambda: tar({FILE: npz(parameters(MODEL))[:-9000]}), "cannot be read"),
    "other arrays": (
        lambda: tar({FILE: npz(parameters("model_1"))}),
        f"local.tar, {FILE}, does not hold the parameters of {MODEL}",
    ),
    "missing array": (lambda: one_array_changed("missing"), "missing arrays: 1 of 267"),
    "wrong shape": (lambda: one_array_changed("shape"), "has shape"),
    "not finite": (lambda: one_array_changed("nan"), "not finite"),
    "integers": (lambda: one_array_changed("dtype"), "as int32"),
}


@pytest.mark.parametrize("case", BAD_ARCHIVES)
def test_a_bad_archive_gets_one_sentence(tmp_path: Path, case: str) -> None:
    make, sentence = BAD_ARCHIVES[case]
    local = tmp_path / "local.tar"
    local.write_bytes(make())
    folder = tmp_path / "weights"
    folder.mkdir()
    with pytest.raises(InputError) as caught:
        get([MODEL], folder, tar=local)
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)
    assert names(folder) == []
    assert not (tmp_path / "evil").exists()


def test_an_archive_with_damaged_headers_is_read_or_gets_one_sentence(tmp_path: Path) -> None:
    sound = official_archive(MODEL)
    starts = [sound.index(name) for name in (b"LICENSE", FILE.encode())]
    local, refused = tmp_path / "local.tar", 0
    for number in range(400):
        rng = Random(number)
        start = rng.choice(starts)
        header = mutate.bytes_(rng, sound[start : start + 512])
        if rng.randrange(4) == 0:  # one that states another kind or size, with its checksum
            info = tarfile.TarInfo("params/x")
            info.type = rng.choice((b"x", b"g", b"L", b"K", b"S", b"D", b"V", b"?"))
            info.size = rng.choice((0, 1, 600, 1 << 40, (1 << 60) - 1))
            header = info.tobuf(tarfile.GNU_FORMAT)
        local.write_bytes(sound[:start] + header + sound[start + 512 :])
        try:
            unpack(local, tmp_path, [MODEL])
        except InputError as error:
            refused += 1
            assert str(error).isprintable() and len(str(error)) < 1000
    assert 0 < refused < 400


def test_folders_in_the_archive_are_not_kept(tmp_path: Path) -> None:
    local = tmp_path / "local.tar"
    files = {"./params": member("./params", tarfile.DIRTYPE)}
    local.write_bytes(tar({**files, f"./params/{FILE}": npz(parameters(MODEL))}))
    unpack(local, tmp_path, [MODEL])
    assert names(tmp_path) == ["local.tar", FILE]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"models": ["model_9"]}, "no model 'model_9'"),
        ({"models": ["../x"]}, "no model '../x'"),
        ({"models": [MODEL], "sha256": "12"}, "is not a SHA-256"),
        ({"models": [MODEL], "tar": Path("/nowhere/x.tar")}, "is not a file"),
    ],
)
def test_bad_arguments(tmp_path: Path, arguments: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        get(folder=tmp_path, **arguments)
    assert names(tmp_path) == []


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"(is a file: name a folder|Not a directory)"):
        get([MODEL], tmp_path / "file" / "weights")


def test_the_default_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FOLDRY_WEIGHTS", "/data/weights")
    assert download.default_folder() == Path("/data/weights")
    monkeypatch.delenv("FOLDRY_WEIGHTS")
    monkeypatch.setenv("HOME", "/home/ada")
    assert download.default_folder() == Path("/home/ada/.cache/foldry/weights")


def test_an_address_is_checked_even_if_nothing_is_fetched(tmp_path: Path, archive: bytes) -> None:
    (tmp_path / "a.tar").write_bytes(archive)
    with pytest.raises(InputError, match="address"):
        get([MODEL], tmp_path / "out", url="ftp:nothing", tar=tmp_path / "a.tar")


def test_an_archive_without_a_note_of_its_use_is_removed(tmp_path: Path) -> None:
    (tmp_path / download.ARCHIVE_NAME).touch()
    download._drop_archive(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_the_space_of_a_network_is_that_of_its_arrays() -> None:
    arrays = parameters(MODEL).values()
    assert download._num_bytes(MODEL) == sum(array.nbytes for array in arrays)


def test_parameters_are_on_the_disk_before_they_have_their_name(
    tmp_path: Path, archive: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.tar").write_bytes(archive)
    seen = []

    def fsync(number: int) -> None:
        if stat.S_ISREG(os.fstat(number).st_mode):
            seen.append((tmp_path / "out" / FILE).exists())

    monkeypatch.setattr(os, "fsync", fsync)
    get([MODEL], tmp_path / "out", tar=tmp_path / "a.tar")
    assert False in seen


def test_every_request_names_the_program(tmp_path: Path, archive: bytes) -> None:
    site = Site(archive, break_after=[3000])
    with serve(site):
        fetch_from(site, tmp_path)
    assert site.requests == [None, "bytes=2999-"]
    assert site.agents == ["foldry", "foldry"]
