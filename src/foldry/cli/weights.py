"""`foldry weights`: get, list, convert and verify parameters."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from foldry.cli.options import valued
from foldry.cli.show import byte_progress, show_line
from foldry.processes.tuning import quick_imports

if TYPE_CHECKING:
    from foldry.weights.read import Weights

app = typer.Typer(help="Get, list, convert and verify model parameters.", no_args_is_help=True)

Source = Annotated[
    Path,
    typer.Argument(metavar="FILE", help=".npz (official), .pt (OpenFold) or .safetensors."),
]
Model = Annotated[
    str | None, valued("NAME", "The network, e.g. model_1_ptm, if the file's name does not say it.")
]


@app.command()
def get(
    models: Annotated[
        str, valued("LIST", "Names separated by commas, or ptm, multimer (v3) or all.")
    ] = "ptm",
    folder: Annotated[
        Path | None,
        valued("FOLDER", "Where to put them. Default: $FOLDRY_WEIGHTS or ~/.cache/foldry/weights."),
    ] = None,
    mirror: Annotated[str | None, valued("URL", "The same archive on another server.")] = None,
    tar: Annotated[Path | None, valued("FILE", "The archive, if already downloaded.")] = None,
    sha256: Annotated[str | None, valued("HASH", "Expected SHA-256 of the archive.")] = None,
) -> None:
    """Download and check AlphaFold's parameters.

    The archive is 5.3 GB, licensed under CC BY 4.0. Running the same command again resumes.
    Example: foldry weights get --models multimer
    """
    with quick_imports():
        from foldry.errors import InputError
        from foldry.weights import download

    if mirror is not None and tar is not None:
        raise InputError("--mirror and --tar exclude each other", "give one of them")
    groups = {
        "ptm": download.DEFAULT_MODELS,
        "multimer": download.COMPLEX_MODELS,
        "all": download.ARCHIVED_MODELS,
    }
    names = groups.get(models) or tuple(models.replace(" ", "").split(","))
    folder = folder or download.default_folder()
    url = mirror or download.ARCHIVE_URL
    with byte_progress() as show:
        fetched = download.get(names, folder, url=url, tar=tar, sha256=sha256, progress=show)
    for path in fetched.paths:
        _show(f"{path}: {'new' if path in fetched.new else 'already there'}")
    if fetched.new:
        _show(f"Checksum of the archive: {fetched.checksum}.")
        _show("All names and shapes of the arrays are right, and all numbers are finite.")
    _show(download.NOTICE)
    _show(f"Fold with them: foldry fold QUERY --weights {folder}")


@app.command("list")
def list_weights(
    folder: Annotated[
        Path | None,
        typer.Argument(
            metavar="FOLDER",
            help="Folder of parameters. Default: $FOLDRY_WEIGHTS or ~/.cache/foldry/weights.",
        ),
    ] = None,
) -> None:
    """List the bundled parameters and those in a folder.

    Example: foldry weights list params
    """
    with quick_imports():
        from foldry.errors import InputError
        from foldry.weights.download import default_folder
        from foldry.weights.networks import find_networks, networks_in

    if folder is not None and not folder.is_dir():
        raise InputError("is not a folder", "give a folder of parameters", where=folder)
    folder = folder or default_folder()
    found = networks_in(folder)
    for network in (*find_networks("mini"), *found):
        path = network.path
        if not path.is_file():
            continue
        licence = f"licence: {network.licence or 'CC BY 4.0'}"
        size = f"{path.stat().st_size / 1e6:.0f} MB"
        _show(f"{network.name:<19} {size:>7}  {licence}  {path}")
    if not found:
        _show(f"{folder} holds no parameters; `foldry weights get` downloads AlphaFold's.")


@app.command()
def convert(
    source: Source,
    target: Annotated[
        Path, typer.Argument(metavar="TARGET", help=".safetensors (Foldry) or .npz (official).")
    ],
    model: Model = None,
) -> None:
    """Convert a weights file into another format, without loss.

    Example: foldry weights convert params_model_1.npz model_1.safetensors
    """
    with quick_imports():
        from foldry.weights.convert import convert as convert_file

    _describe(source, convert_file(source, target, model))
    _show(f"{target}: written")


@app.command()
def verify(
    file: Source,
    model: Model = None,
) -> None:
    """Check a weights file: names, shapes, finite numbers.

    Example: foldry weights verify params_model_1.npz
    """
    with quick_imports():
        from foldry.store.hashes import file_sha256
        from foldry.weights.read import load_weights

    _describe(file, load_weights(file, model))
    _show(f"sha256 {file_sha256(file)}")


def _show(line: str) -> None:
    show_line(line, wrap=False)


def _describe(path: Path, weights: Weights) -> None:
    from foldry.weights.read import alike

    name = weights.config.name
    _show(
        f"{path}: {name}, {weights.num_parameters:,} parameters, {', '.join(weights.dtypes)}; "
        "all names and shapes are right, and all numbers are finite"
    )
    if not weights.named:
        _show(
            f"Its arrays fit {', '.join(alike(name))} equally well; {name} is assumed, unless "
            "--model names another."
        )
    if weights.unread:
        _show(
            f"Arrays left out because {name} does not have them: {len(weights.unread)}, the first "
            f"is {weights.unread[0]}."
        )
