"""`foldry weights` as a user types it: what it says, its exit codes, what it leaves behind."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from foldry.cli.main import main
from foldry.weights import download
from foldry.weights.official import from_official, read_params
from foldry.weights.state_file import load, save
from tests.weights.archive import (
    Site,
    npz,
    official_archive,
    parameters,
    serve,
    small,
    small_models,
)

__all__ = ["small_models"]
pytestmark = pytest.mark.usefixtures("small_models")
Typed = Callable[..., tuple[int, str, str]]


@pytest.fixture
def foldry(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Typed:
    """Type a command; the exit code, the output and what went to standard error."""
    monkeypatch.setattr("foldry.store.download.PAUSES", ())
    monkeypatch.setenv("FOLDRY_WEIGHTS", str(tmp_path / "weights"))

    def typed(*arguments: object) -> tuple[int, str, str]:
        code = main(["weights", *map(str, arguments)])
        output = capsys.readouterr()
        return code, output.out, output.err

    return typed


@pytest.fixture
def parameter_file(tmp_path: Path) -> Path:
    path = tmp_path / "params_model_1_ptm.npz"
    path.write_bytes(npz(parameters("model_1_ptm")))
    return path


def test_get_brings_the_ptm_models(foldry: Typed, tmp_path: Path) -> None:
    with serve(Site(official_archive("model_1", *download.DEFAULT_MODELS))) as site:
        code, output, _ = foldry("get", "--mirror", site.url)
    assert code == 0
    assert "AlphaFold's parameters are by DeepMind" in output
    assert "CC BY 4.0" in output
    assert "Checksum of the archive: unknown: the server states none." in output
    expected = {"LICENSE"} | {f"params_model_{k}_ptm.npz" for k in range(1, 6)}
    assert {path.name for path in (tmp_path / "weights").iterdir()} == expected


def test_get_from_a_local_archive(foldry: Typed, tmp_path: Path) -> None:
    archive = tmp_path / "archive.tar"
    archive.write_bytes(official_archive("model_2", "model_3"))
    code, output, _ = foldry("get", "--tar", archive, "--models", "model_2, model_3")
    assert code == 0
    assert output.count(": new") == 2
    code, output, _ = foldry("get", "--tar", archive, "--models", "model_2")
    assert (code, output.count("already there")) == (0, 1)
    assert archive.exists()


def test_a_broken_download_exits_with_5_and_resumes(foldry: Typed, tmp_path: Path) -> None:
    models = ("get", "--models", "model_3", "--mirror")
    with serve(Site(official_archive("model_3"), break_after=[3000])) as site:
        code, _, error = foldry(*models, site.url)
        assert code == 5
        assert "run the same command again to resume" in error
        assert error.count("\n") == 1
        assert not (tmp_path / "weights" / "params_model_3.npz").exists()
        assert foldry(*models, site.url)[0] == 0
    assert site.requests == [None, "bytes=2999-"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("get", "--models", "model_7"), "no model 'model_7'"),
        (("get", "--models", "foo"), "ptm, multimer and all name groups"),
        (("get", "--models", ""), "--models is followed by an empty name"),
        (("get", "--sha256", "abc"), "is not a SHA-256"),
        (("get", "--mirror", "ftp://example.org/a"), "is not an address"),
        (("get", "--mirror", "http://example.org/a", "--tar", "a.tar"), "give one of them"),
        (("get", "--tar", "/nowhere/a.tar"), "is not a file"),
        (("verify", "/nowhere/a.npz"), "is not a file"),
        (("verify", __file__), "ends in .py"),
        (
            ("verify", "FILE", "--model", "model_9"),
            "is called 'model_9': choose model_1 to model_5, alone or with _ptm, _mu",
        ),
        (("get", "--models", "model_1_multimer"), "no model 'model_1_multimer'"),
        (("verify", "FILE", "--model", "model_1_multimer_v3"), "relative_encoding"),
        (("convert", "FILE", "a.pt"), "must end in .safetensors"),
        (("convert", "FILE", "FILE"), "exists: delete it first"),
        (("convert", "FILE", "FILE/a.npz"), "is a file: name a folder"),
    ],
)
def test_bad_input_exits_with_2_and_one_sentence(
    foldry: Typed, parameter_file: Path, arguments: tuple[str, ...], sentence: str
) -> None:
    before = sorted(parameter_file.parent.rglob("*"))
    named = [word.replace("FILE", str(parameter_file)) for word in arguments]
    code, _, error = foldry(*named)
    assert (code, error.count("\n")) == (2, 1)
    assert sentence in error
    assert sorted(parameter_file.parent.rglob("*")) == before


def test_verify_says_what_a_file_is(foldry: Typed, parameter_file: Path) -> None:
    code, output, _ = foldry("verify", parameter_file)
    count = sum(array.size for array in parameters("model_1_ptm").values())
    assert code == 0
    assert f"model_1_ptm, {count:,} parameters, float32" in output
    assert "are finite" in output
    unnamed = parameter_file.rename(parameter_file.with_name("mine.npz"))
    assert "model_1_ptm, model_2_ptm equally well" in foldry("verify", unnamed)[1]
    code, output, _ = foldry("verify", unnamed, "--model", "model_2")
    assert "Arrays left out because model_2 does not have them: 2, the first is" in output


def test_convert_there_and_back(foldry: Typed, parameter_file: Path, tmp_path: Path) -> None:
    ours, back = tmp_path / "a.safetensors", tmp_path / "new" / "params_model_1_ptm.npz"
    assert foldry("convert", parameter_file, ours)[0] == 0
    state, config, notes = load(ours)
    assert config == small("model_1_ptm")
    expected = from_official(parameters("model_1_ptm"), config)
    assert all(torch.equal(state[name], tensor) for name, tensor in expected.items())
    assert notes["source"] == parameter_file.name
    assert foldry("convert", ours, back)[0] == 0
    arrays = read_params(back)
    assert all(np.array_equal(arrays[k], v) for k, v in parameters("model_1_ptm").items())
    assert foldry("verify", ours, "--model", "model_2_ptm")[0] == 2
    half = tmp_path / "half.safetensors"
    save(half, {name: tensor.half() for name, tensor in state.items()}, config)
    assert "parameters, float16" in foldry("verify", half)[1]


@pytest.mark.parametrize("name", ["model_2_multimer", "model_3_multimer_v2", "model_4_multimer_v3"])
def test_networks_for_complexes_there_and_back(foldry: Typed, tmp_path: Path, name: str) -> None:
    path = tmp_path / f"params_{name}.npz"
    path.write_bytes(npz(parameters(name)))
    ours, back = tmp_path / "a.safetensors", tmp_path / "back" / path.name
    assert foldry("convert", path, ours)[0] == 0
    assert foldry("convert", ours, back)[0] == 0
    arrays = read_params(back)
    assert arrays.keys() == parameters(name).keys()
    assert all(np.array_equal(arrays[k], v) for k, v in parameters(name).items())
    assert {row.split()[0] for row in foldry("list", tmp_path)[1].splitlines()} == {"mini", name}
    unnamed = path.rename(tmp_path / "mine.npz")
    assert f"{name}, " in foldry("verify", unnamed, "--model", name)[1]
    code, output, _ = foldry("verify", unnamed)
    assert (code, name in output) == (0, True)
    checkpoint = path.with_suffix(".pt")
    checkpoint.touch()
    assert "multimers are not supported" in foldry("verify", checkpoint, "--model", name)[2]


def test_get_brings_the_networks_for_complexes(foldry: Typed, tmp_path: Path) -> None:
    archive = tmp_path / "archive.tar"
    archive.write_bytes(official_archive("model_1_ptm", *download.COMPLEX_MODELS))
    assert foldry("get", "--tar", archive, "--models", "multimer")[0] == 0
    expected = {"LICENSE"} | {f"params_model_{k}_multimer_v3.npz" for k in range(1, 6)}
    assert {path.name for path in (tmp_path / "weights").iterdir()} == expected


def test_list_of_a_missing_folder_is_an_error(foldry: Typed, tmp_path: Path) -> None:
    code, _, error = foldry("list", tmp_path / "nowhere")
    assert code == 2 and "nowhere is not a folder" in error


def test_list_shows_a_folder(foldry: Typed, parameter_file: Path, tmp_path: Path) -> None:
    code, output, _ = foldry("list")
    assert code == 0
    assert f"{tmp_path / 'weights'} holds no parameters" in output
    ours = tmp_path / "mine.safetensors"
    state = from_official(parameters("model_3"), small("model_3"))
    save(ours, state, small("model_3"), {"licence": "CC0 1.0"})
    code, output, _ = foldry("list", tmp_path)
    rows = {row.split()[0]: row for row in output.splitlines()}
    assert "CC BY 4.0" in rows["model_1_ptm"]
    assert rows["model_1_ptm"].endswith(f"  {parameter_file}")
    assert "CC0 1.0" in rows["model_3"]
