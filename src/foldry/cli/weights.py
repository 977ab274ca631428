"""`foldry weights`: get, list, convert and verify parameters."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from foldry.weights.read import Weights

app = typer.Typer(help="Get, list, convert and verify model parameters.", no_args_is_help=True)

Source = Annotated[Path, typer.Argument(help=".npz (official), .pt (OpenFold), .safetensors.")]
Model = Annotated[
    str | None,
    typer.Option(help="The network, such as model_1_ptm, where the file's name does not tell."),
]


@app.command()
def get(
    models: Annotated[
        str,
        typer.Option(help="Names with commas between them, or `ptm`, `multimer` (v3) or `all`."),
    ] = "ptm",
    folder: Annotated[
        Path | None, typer.Option(help="Default: $FOLDRY_WEIGHTS or ~/.cache/foldry/weights.")
    ] = None,
    mirror: Annotated[
        str | None, typer.Option(help="Address of the same archive on another server.")
    ] = None,
    tar: Annotated[Path | None, typer.Option(help="The archive, if it is here already.")] = None,
    sha256: Annotated[str | None, typer.Option(help="The archive's hash, if you know it.")] = None,
) -> None:
    """Download AlphaFold's parameters (5.3 GB; CC BY 4.0) and check them. Run again to resume."""
    from foldry.errors import InputError
    from foldry.weights import download

    if mirror is not None and tar is not None:
        raise InputError("--mirror and --tar both say where the archive is", "give one of them")
    groups = {
        "ptm": download.DEFAULT_MODELS,
        "multimer": download.COMPLEX_MODELS,
        "all": download.ARCHIVED_MODELS,
    }
    names = groups.get(models) or tuple(models.replace(" ", "").split(","))
    folder = folder or download.default_folder()
    url = mirror or download.ARCHIVE_URL
    with _progress_bar() as show:
        fetched = download.get(names, folder, url=url, tar=tar, sha256=sha256, progress=show)
    for path in fetched.paths:
        typer.echo(f"{path}: {'new' if path in fetched.new else 'was there already'}")
    if fetched.new:
        typer.echo(f"Checksum of the archive: {fetched.checksum}.")
        typer.echo("Every array has the name and the shape of its network, and finite numbers.")
    typer.echo(download.NOTICE)
    typer.echo(f"Fold with them: foldry fold QUERY --weights {folder}")


@contextmanager
def _progress_bar() -> Iterator[Callable[[int, int], None]]:
    """A bar on standard error, if that is a terminal, once there is something to show."""
    from rich import progress
    from rich.console import Console

    columns = (
        progress.BarColumn(),
        progress.DownloadColumn(),
        progress.TransferSpeedColumn(),
        progress.TimeRemainingColumn(),
    )
    console = Console(stderr=True)
    disable = not console.is_terminal
    with progress.Progress(*columns, console=console, transient=True, disable=disable) as bar:
        task = bar.add_task("", visible=False)
        yield lambda here, whole: bar.update(task, completed=here, total=whole, visible=True)


@app.command("list")
def list_weights(
    folder: Annotated[
        Path | None,
        typer.Argument(help="Default: $FOLDRY_WEIGHTS or ~/.cache/foldry/weights."),
    ] = None,
) -> None:
    """Show which parameters are here: the bundled ones and a folder's."""
    from foldry.weights.download import default_folder
    from foldry.weights.networks import find_networks, networks_in
    from foldry.weights.state_file import load_config

    folder = folder or default_folder()
    found = networks_in(folder)
    for network in (*find_networks("mini"), *found):
        path = network.path
        if not path.is_file():
            continue
        licence = "CC BY 4.0 (AlphaFold's own)"
        if path.suffix != ".npz":
            _, notes = load_config(path)
            licence = notes.get("licence", f"that of {notes.get('source', 'its source')}")
        size = f"{path.stat().st_size / 1e6:.0f} MB"
        typer.echo(f"{network.name:<19} {size:>7}  {licence}  {path}")
    if not found:
        typer.echo(f"{folder} holds none; `foldry weights get` brings AlphaFold's.")


@app.command()
def convert(
    source: Source,
    target: Annotated[Path, typer.Argument(help=".safetensors (Foldry) or .npz (official).")],
    model: Model = None,
) -> None:
    """Write a weights file as another kind, without loss."""
    from foldry.weights.convert import convert as convert_file

    _describe(source, convert_file(source, target, model))
    typer.echo(f"{target}: written")


@app.command()
def verify(
    file: Source,
    model: Model = None,
) -> None:
    """Compare a file with its network: names, shapes, finite numbers."""
    from foldry.store.hashes import file_sha256
    from foldry.weights.read import load_weights

    _describe(file, load_weights(file, model))
    typer.echo(f"sha256 {file_sha256(file)}")


def _describe(path: Path, weights: Weights) -> None:
    from foldry.weights.read import alike

    name = weights.config.name
    typer.echo(
        f"{path}: {name}, {weights.num_parameters:,} parameters, {', '.join(weights.dtypes)}; "
        "every name and shape is right, every number is finite"
    )
    if not weights.named:
        typer.echo(
            f"Its arrays are those of {', '.join(alike(name))} alike; it was taken for {name}: "
            "--model says otherwise."
        )
    if weights.unread:
        typer.echo(
            f"{len(weights.unread)} arrays that {name} does not have are left out, "
            f"{weights.unread[0]} the first."
        )
