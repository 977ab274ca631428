"""All of Foldry's readers, with valid files for each and the ways to damage them."""

from __future__ import annotations

import csv
import gzip
import io
import json
import lzma
import shutil
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Final

import numpy as np
import torch

from foldry.assess.batch import read_pairs
from foldry.assess.inputs import read_model
from foldry.database.annotation_files import kind_of, rows
from foldry.database.imports.detect import READERS as IMPORTERS
from foldry.database.imports.detect import find_jobs, order
from foldry.database.imports.job import Reading
from foldry.database.record import decode, encode
from foldry.database.uniprot import read_flat_file, read_headers
from foldry.dataset.packs import Library, read_table
from foldry.errors import InputError, reason
from foldry.formats.coordinates import read_deposition, read_structure, to_pdb
from foldry.formats.m8 import parse_m8
from foldry.formats.modelcif import to_binarycif, to_modelcif
from foldry.formats.modelcif_read import read_modelcif
from foldry.formats.pae import read_pae
from foldry.inputs.pairs import read_screen
from foldry.inputs.queries import read_queries
from foldry.model.alphafold import AlphaFold
from foldry.predict.kept import Kept
from foldry.results.folder import read_results, write_query
from foldry.search.templates_read import hits_of_hhr, hits_of_stockholm
from foldry.store.files import read_text
from foldry.store.members import Skipped, members_of
from foldry.store.objects import ZSTD
from foldry.store.sections import join_sections, split_sections
from foldry.train import bundle
from foldry.train.checkpoint import NAME, Progress, load_checkpoint, save_checkpoint
from foldry.train.ema import EMA
from foldry.weights.official import read_params
from foldry.weights.openfold import read_checkpoint
from foldry.weights.read import load_weights
from foldry.weights.state_file import save
from tests.database.deposits import stored_model
from tests.database.imports import layouts
from tests.database.imports.layouts import dimer, monomer
from tests.formats.test_coordinates import small_binarycif
from tests.formats.test_modelcif import everything
from tests.fuzz import mutate
from tests.fuzz.mutate import Mutator
from tests.predict.fake import fake_prediction
from tests.train.synthetic import write_world
from tests.train.tiny import tiny_config
from tests.weights.archive import npz

ROOT: Final = Path(__file__).resolve().parents[2]
EXAMPLES: Final = ROOT / "examples"
SEQUENCE: Final = "MKTAYIAKQRQISFVKSHFSRQ"


@dataclass(frozen=True)
class Reader:
    """A reader and its files.

    Attributes:
        write: Writes valid files into an empty folder; returns those to damage.
        read: Reads the folder as a command does.
        mutators: Ways to damage a file.
        errors: Errors that the reader may raise.
    """

    write: Callable[[Path], list[Path]]
    read: Callable[[Path], object]
    mutators: tuple[Mutator, ...] = (mutate.bytes_, mutate.text)
    errors: tuple[type[Exception], ...] = (InputError,)


def _files(**contents: str | bytes) -> Callable[[Path], list[Path]]:
    """Return a function that writes files; `__` in a name stands for the dot."""

    def write(folder: Path) -> list[Path]:
        paths = []
        for name, content in contents.items():
            path = folder / name.replace("__", ".")
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
            paths.append(path)
        return paths

    return write


def _queries(folder: Path) -> object:
    return [read_queries([path]) for path in _of(folder)]


def _of(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_file())


def _structures(folder: Path) -> object:
    return [(read_structure(path), read_deposition(path)) for path in _of(folder)]


def _modelcif(folder: Path) -> list[Path]:
    return _files(a__cif=to_modelcif(everything()))(folder)


def _modelcif_binary(folder: Path) -> list[Path]:
    return _files(a__bcif=to_binarycif(everything()))(folder)


def _models(folder: Path) -> object:
    """Read predictions, and write them again: a number that is read can be written."""
    models = [read_modelcif(path.read_bytes(), str(path)) for path in _of(folder)]
    return [(to_modelcif(each), to_binarycif(each)) for each in models]


_A3M: Final = "".join(
    f">r{number} some words\n{row}\n"
    for number, row in enumerate((SEQUENCE, SEQUENCE.replace("KQR", "k-QR"), "-" * 22, SEQUENCE))
)
_COMPLEX: Final = (
    "#22,10\t2,1\n>101\t102\n"
    + f"{SEQUENCE}MKVLAAGIVG\n>101\n{SEQUENCE}----------\n>102\n{'-' * 22}MKVLAAGIVG\n"
)
_DIALECT: Final = f"; a comment\n>ss_pred\n{'C' * 22}\n>d\n{SEQUENCE}*\n>e\n{'_' * 22}*\n\0"
_STOCKHOLM: Final = (
    "# STOCKHOLM 1.0\n#=GS r1 DE some words\n"
    + f"q {SEQUENCE[:11]}\nr1 {SEQUENCE[:10]}.\n#=GC RF xxxxxxxxxxx\n\n"
    + f"q {SEQUENCE[11:]}\nr1 {SEQUENCE[11:20]}~L\n#=GC RF xxxxxxxxxxx\n//\n"
    + f"# STOCKHOLM 1.0\nz {SEQUENCE}\n//\n"
)
_HHR: Final = """Query         q
Match_columns 22
No_of_seqs    3 out of 9
Command       hhsearch -i q.a3m

 No Hit                             Prob E-value P-value  Score    SS Cols Query HMM  Template HMM
  1 1ABC_A Some protein; words      99.9 1.1E-30 1.1E-35  190.1   0.0   11    1-11     3-14  (30)

No 1
>1ABC_A Some protein; words, of the test
Probab=99.93  E-value=1.1e-30  Score=190.13  Aligned_cols=11  Identities=81%  Similarity=1.2  Sum_probs=10.1  Template_Neff=6.2

Q q                 1 MKTAYIA-KQRQ   11 (22)
Q Consensus         1 mktayia-kqrq   11 (22)
                      ||||||| .|||
T Consensus         3 mktayiagkqr~   14 (30)
T 1ABC_A            3 MKTAYIAGKQRQ   14 (30)


"""  # noqa: E501
_HITS: Final = """# STOCKHOLM 1.0
#=GS 1abc_A/5-9 DE [subseq from] mol:protein length:20  A KINASE

1abc_A/5-9      -KT.Ay
#=GR 1abc_A/5-9 PP .99.99
2def_B/1-4      MKTa-.
#=GC RF         xxx.x.

1abc_A/5-9      I
2def_B/1-4      -
#=GC RF         x
//
"""
_M8: Final = """q\t1abc_A\t0.75\t4\t1\t1\t3\t7\t6\t9\t1.1E-05\t42\t2M1I2M
q\t2abc_B\t1.000\t3\t0\t0\t1\t3\t1\t3\t0.02\t20\t3M
"""
_JOB: Final[dict[str, object]] = {
    "name": "job",
    "modelSeeds": [1, 2],
    "sequences": [
        {
            "protein": {
                "id": ["A", "B"],
                "sequence": SEQUENCE,
                "unpairedMsa": f">q\n{SEQUENCE}\n>r\n{SEQUENCE}\n",
                "templates": [
                    {
                        "mmcif": "MMCIF",
                        "queryIndices": list(range(12)),
                        "templateIndices": list(range(12)),
                    }
                ],
            }
        },
        {"protein": {"id": "C", "sequence": "MKVLAAGIVG", "unpairedMsa": "", "pairedMsa": ""}},
    ],
    "dialect": "alphafold3",
    "version": 2,
}
_SERVER_JOB: Final = [
    {
        "name": "server",
        "modelSeeds": ["7"],
        "sequences": [{"proteinChain": {"sequence": SEQUENCE, "count": 2}}],
        "dialect": "alphafoldserver",
        "version": 1,
    }
]


def _small() -> str:
    """Return a few residues of the example as mmCIF with the PDB's columns."""
    lines = (EXAMPLES / "kunitz" / "1adz.cif").read_text().splitlines(keepends=True)
    atoms = [number for number, line in enumerate(lines) if line.startswith("ATOM")]
    return "".join(lines[: atoms[150]] + lines[atoms[-1] + 1 :])


def _jobs(folder: Path) -> list[Path]:
    text = json.dumps(_JOB).replace('"MMCIF"', json.dumps(_small()))
    return _files(a__json=text, b__json=json.dumps(_SERVER_JOB))(folder)


def _pdb(folder: Path) -> list[Path]:
    structure = read_structure(EXAMPLES / "kunitz" / "1adz.cif").select(np.arange(15))
    header = "SEQRES   1 A    2  ALA GLY\n"
    return _files(a__pdb=header + to_pdb(structure))(folder)


def _binarycif(folder: Path) -> list[Path]:
    return _files(a__bcif=small_binarycif())(folder)


def _pae(folder: Path) -> list[Path]:
    rows = [[0.25, 3.5, 8], [1, 0.5, 2], [9, 4, 0.25]]
    pairs = [(row + 1, column + 1, rows[row][column]) for row in range(3) for column in range(3)]
    first, second, distance = zip(*pairs, strict=True)
    return _files(
        a__json=json.dumps([{"predicted_aligned_error": rows, "max_predicted_aligned_error": 9}]),
        b__json=json.dumps(
            {"pae": rows, "token_chain_ids": ["A", "A", "B"], "token_res_ids": [1, 2, 1]}
        ),
        c__json=json.dumps([{"residue1": first, "residue2": second, "distance": distance}]),
    )(folder)


def _pae_arrays(folder: Path) -> list[Path]:
    errors = np.array([[0.25, 3.5, 8], [1, 0.5, 2], [9, 4, 0.25]])
    archive = npz({"pae": errors.astype(np.float32), "plddt": np.zeros(3)})
    array = io.BytesIO()
    np.save(array, errors.T[None])
    return _files(
        a__npz=archive,
        b__npy=array.getvalue(),
        c__npz__gz=gzip.compress(archive),
        d__npy__gz=gzip.compress(array.getvalue()),
        e__npy__xz=lzma.compress(array.getvalue()),
    )(folder)


def _errors(folder: Path) -> object:
    return [read_pae(path).errors for path in _of(folder)]


def _tables(folder: Path) -> list[Path]:
    model = EXAMPLES / "kunitz" / "1adz.cif"
    rows = [("model", "reference", "name"), (str(model), str(model), "x"), ("a.cif", "b.cif", "y")]
    pairs = io.StringIO()
    csv.writer(pairs).writerows(rows)
    return _files(
        a__csv=f"id,sequence\na,{SEQUENCE}\nb,MKVLAAGIVG:MKV\n",
        b__csv=pairs.getvalue(),
        c__tsv="id\tlength\tnear\na\t5\t\nb\t6\theldout\n",
    )(folder)


def _read_tables(folder: Path) -> object:
    return (
        read_screen([folder / "a.csv"], every=True),
        read_pairs(folder / "b.csv"),
        read_table(folder / "c.tsv"),
    )


def _own(folder: Path) -> list[Path]:
    torch.manual_seed(0)
    config = tiny_config()
    save(folder / "a.safetensors", AlphaFold(config).state_dict(), config, {"licence": "x"})
    return [folder / "a.safetensors"]


def _official(folder: Path) -> list[Path]:
    arrays = {"a/evoformer//weights": np.ones((4, 3), np.float32), "a/b//bias": np.zeros(3)}
    return _files(a__npz=npz(arrays))(folder)


def _openfold(folder: Path) -> list[Path]:
    torch.save({"ema": {"params": {"a.weight": torch.zeros(3)}}}, folder / "a.pt")
    return [folder / "a.pt"]


def _weights(folder: Path) -> object:
    """Read weights as `foldry weights verify` does, and find the network that would predict."""
    read = [load_weights(path) for path in _of(folder)]
    for weights in read:
        AlphaFold(weights.config).load_state_dict(weights.state)
    return read


def _packs(folder: Path) -> list[Path]:
    write_world(folder)
    return sorted(folder.glob("*/*.npz"))


def _library(folder: Path) -> object:
    library = Library(folder, ["train"])
    found = []
    for name in ("c0", "c1", "c60"):
        found.append((library.chain(name), library.alignment(name), library.best_plddt(name)))
        found += [library.lay_hit(name, hit) for hit in library.hits(name)]
    return found


def _bundle(folder: Path) -> list[Path]:
    (folder / "world").mkdir()
    write_world(folder / "world")
    _own(folder)
    bundle.pack(folder / "world", folder / "bundle", folder / "a.safetensors", max_rows=2)
    shutil.rmtree(folder / "world")
    return sorted((folder / "bundle").iterdir())


def _unpack(folder: Path) -> object:
    bundle.unpack(folder / "bundle", folder / "out")
    shutil.rmtree(folder / "out")
    return folder


def _run() -> tuple[AlphaFold, EMA, torch.optim.Adam, dict[str, object]]:
    torch.manual_seed(0)
    model = AlphaFold(tiny_config())
    return model, EMA(model, 0.9), torch.optim.Adam(model.parameters()), {"name": "fold", "seed": 1}


def _checkpoint(folder: Path) -> list[Path]:
    model, ema, optimizer, fixed = _run()
    sum(parameter.sum() for parameter in model.parameters()).backward()
    optimizer.step()
    save_checkpoint(folder, model, ema, optimizer, Progress("fold", 3, 9), fixed)
    return [folder / NAME]


def _resume(folder: Path) -> object:
    return load_checkpoint(folder, *_run())


def _kept(folder: Path) -> list[Path]:
    Kept(folder).save("a", fake_prediction())
    return _of(folder)


def _load_kept(folder: Path) -> object:
    return Kept(folder).load("a", fake_prediction().query)


def _record(folder: Path) -> list[Path]:
    model = stored_model((("MKTAYIAKQR", 2), ("GIVG", 1)), of_chains=[])
    data = encode(model)
    return _files(a=data, b=ZSTD.compress(data))(folder)


def _sections(rng: Random, data: bytes) -> bytes:
    """Return a record, compressed or not, with one of its sections changed."""
    if data.startswith(ZSTD.magic):
        return ZSTD.compress(_sections(rng, ZSTD.decompress(data, len(data) * 1000)))
    sections = list(map(bytes, split_sections(data)))
    place = rng.choice([0, *range(len(sections))])
    change = rng.choice((mutate.bytes_, mutate.json_)) if place == 0 else mutate.bytes_
    sections[place] = change(rng, sections[place])
    return join_sections(sections)


def _decode(folder: Path) -> object:
    data = (folder / "b").read_bytes()
    try:
        unpacked = ZSTD.decompress(data, 10**8)
        return decode((folder / "a").read_bytes()), decode(unpacked)
    except ValueError as error:
        what = f"is damaged ({reason(error)})"
        raise InputError(what, "restore it", where="The record") from error


def _results(folder: Path) -> list[Path]:
    files = write_query([fake_prediction()], folder / "1adz")
    return [path for path in files if path.suffix in (".json", ".cif")]


def _stored(folder: Path) -> object:
    return read_results(folder / "1adz"), read_model(str(folder / "1adz"))


_UNIPROT: Final = f"""ID   ABL1_MOUSE              Reviewed;          22 AA.
AC   P00520; P97896;
DT   20-MAY-2008, sequence version 3.
DE   RecName: Full=Kinase {{ECO:0000305}};
DE            EC=2.7.10.2;
GN   Name=Abl1; Synonyms=Abl, Abl2x;
OS   Mus musculus (Mouse).
OX   NCBI_TaxID=10090;
CC   -!- FUNCTION: Plays a role in
CC       many processes {{ECO:0000269|PubMed:9461559}}.
DR   GO; GO:0005737; C:cytoplasm; IDA:MGI.
KW   Kinase; Reference proteome.
SQ   SEQUENCE   22 AA;  2600 MW;  A4E5D5F5C4A0E9B2 CRC64;
     {SEQUENCE}
//
"""
_ANNOTATIONS: Final[dict[str, str | bytes]] = {
    "a__dat": _UNIPROT * 2,
    "b__fasta": f">sp|P00520|ABL1_MOUSE Kinase OS=Mus musculus OX=10090 GN=Abl1\n{SEQUENCE}\n",
    "c__tsv": "id\tstart\tend\ttype\nP00520\t1\t20\tDOMAIN\n",
    "d__gz": gzip.compress(b"protein_variant,am_pathogenicity,am_class\nM1A,0.3,Amb\n" * 9),
}


def _annotations(folder: Path) -> object:
    readers = {"uniprot": read_flat_file, "fasta": read_headers}
    found = [each for path in _of(folder) for each in readers.get(kind_of(path), rows)(path)]
    for each in found:
        if isinstance(each, InputError):
            raise each
    return found


def _predictions(folder: Path) -> list[Path]:
    """Write an entry of AlphaFold DB in a tar archive, and a query of Chai in a zip archive."""
    layouts.afdb(folder / "a", monomer)
    layouts.chai(folder / "b", dimer)
    with tarfile.open(folder / "a.tar", "w") as tar:
        tar.add(folder / "a", "a")
    with zipfile.ZipFile(folder / "b.zip", "w", zipfile.ZIP_STORED) as archive:
        for path in (folder / "b").iterdir():
            archive.write(path, path.name)
    shutil.rmtree(folder / "a")
    shutil.rmtree(folder / "b")
    return [folder / "a.tar", folder / "b.zip"]


def _deposits(folder: Path) -> object:
    """Return what would be published; raise the last error if there is one."""
    skipped, found, last = Skipped(), [], None
    for job in find_jobs(members_of([folder], lambda: folder, skipped, order), skipped, skipped):
        try:
            found.append(IMPORTERS[job.layout](Reading(job)))
        except InputError as error:
            last = error
    if last is not None:
        raise last
    return found


READERS: Final[dict[str, Reader]] = {
    "FASTA": Reader(_files(a__fasta=f">a b\n{SEQUENCE}\n\n>c\nMKT:MKV\n"), _queries),
    "a3m": Reader(_files(a__a3m=_A3M, b__a3m=_COMPLEX, c__a3m=_DIALECT), _queries),
    "Stockholm": Reader(_files(a__sto=_STOCKHOLM), _queries),
    "hhr": Reader(_files(a__hhr=_HHR), lambda folder: hits_of_hhr(read_text(folder / "a.hhr"))),
    "hmmsearch": Reader(
        _files(a__sto=_HITS),
        lambda folder: hits_of_stockholm(read_text(folder / "a.sto"), "MKTAI"),
    ),
    "m8": Reader(_files(a__m8=_M8), lambda folder: list(parse_m8(read_text(folder / "a.m8")))),
    "JSON": Reader(_jobs, _queries, (mutate.json_, mutate.json_, mutate.text)),
    "CSV": Reader(_tables, _read_tables),
    "PDB": Reader(_pdb, _structures),
    "mmCIF": Reader(_files(a__cif=_small()), _structures),
    "BinaryCIF": Reader(_binarycif, _structures, (mutate.msgpack_, mutate.msgpack_, mutate.bytes_)),
    "ModelCIF": Reader(_modelcif, _models),
    "ModelCIF, binary": Reader(
        _modelcif_binary, _models, (mutate.msgpack_, mutate.msgpack_, mutate.bytes_)
    ),
    "PAE": Reader(_pae, _errors, (mutate.json_, mutate.text)),
    "PAE arrays": Reader(_pae_arrays, _errors, (mutate.arrays, mutate.arrays, mutate.bytes_)),
    "npz": Reader(
        _official,
        lambda folder: read_params(folder / "a.npz"),
        (mutate.archive, mutate.archive, mutate.bytes_),
    ),
    "OpenFold": Reader(
        _openfold, lambda folder: read_checkpoint(folder / "a.pt"), (mutate.bytes_,)
    ),
    "safetensors": Reader(_own, _weights, (mutate.safetensors, mutate.safetensors, mutate.bytes_)),
    "packs": Reader(_packs, _library, (mutate.archive, mutate.archive, mutate.bytes_)),
    "bundle": Reader(_bundle, _unpack, (mutate.bytes_, mutate.text)),
    "checkpoint": Reader(
        _checkpoint, _resume, (mutate.safetensors, mutate.safetensors, mutate.bytes_)
    ),
    "kept": Reader(_kept, _load_kept, (mutate.archive, mutate.archive, mutate.bytes_), ()),
    "record": Reader(_record, _decode, (_sections, _sections, _sections, mutate.bytes_)),
    "annotations": Reader(_files(**_ANNOTATIONS), _annotations),
    "imports": Reader(_predictions, _deposits, (mutate.text, mutate.bytes_, mutate.bytes_)),
    "results": Reader(_results, _stored, (mutate.text, mutate.bytes_)),
}
"""Readers by name. Unreadable results kept between runs are no error: they are computed again."""
