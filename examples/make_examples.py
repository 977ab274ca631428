"""Recreate the files of this folder from packages of Debian 12.

    apt-get install theseus-examples libball1.5-data mmseqs2-examples mmseqs2
    python examples/make_examples.py

Only coordinates and bare sequences are taken. Every alignment is made here, by an MMseqs2 search
of the 20,000 UniProt sequences of mmseqs2-examples. The same packages give the same bytes.
"""

from __future__ import annotations

import gzip
import json
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import gemmi

HERE = Path(__file__).resolve().parent
STRUCTURES = Path("/usr/share/doc/theseus/examples")
BPTI = Path("/usr/share/BALL-1.5/structures/bpti.pdb")
SEQUENCES = Path("/usr/share/doc/mmseqs2/example-data/DB.fasta.gz")
EVERY = 20
"""One of so many proteins without relation to the examples is in the small database."""
LONGEST = 1000
"""Maximum number of residues of a protein in the small database."""
SEARCH_OPTIONS = ["--num-iterations", "3", "-s", "7.5", "-e", "0.001", "-a", "1", "--threads", "1"]
MSA_OPTIONS = ["--msa-format-mode", "5", "--filter-msa", "0", "--threads", "1"]


@dataclass(frozen=True)
class Citation:
    """The paper a structure was published in."""

    authors: tuple[str, ...]
    title: str
    journal: str
    volume: str
    first_page: str
    year: str


@dataclass(frozen=True)
class Known:
    """A chain of the small library of known structures, none of which is an example."""

    name: str  # entry and chain
    file: str  # under STRUCTURES, or an absolute path
    molecule: str


@dataclass(frozen=True)
class Example:
    """One folder of examples/ and what the PDB says about its structure."""

    folder: str
    stem: str  # of its files' names
    pdb_id: str
    files: tuple[str, ...]  # one per chain, under STRUCTURES
    molecule: str
    title: str
    method: str
    resolution: float | None  # Å
    citation: Citation
    first_residue: int = -10_000  # author number below which residues are left off
    compressed: bool = False


EXAMPLES = (
    Example(
        folder="kunitz",
        stem="1adz",
        pdb_id="1adz",
        files=("1adz.pdb.gz",),
        molecule="Tissue factor pathway inhibitor, second Kunitz domain, Homo sapiens",
        title="The solution structure of the second Kunitz domain of tissue factor pathway "
        "inhibitor, NMR, model 1 of 30",
        method="SOLUTION NMR",
        resolution=None,
        citation=Citation(
            authors=(
                "Burgering, M.J.",
                "Orbons, L.P.",
                "van der Doelen, A.",
                "Mulders, J.",
                "Theunissen, H.J.",
                "Grootenhuis, P.D.",
                "Bode, W.",
                "Huber, R.",
                "Stubbs, M.T.",
            ),
            title="The second Kunitz domain of human tissue factor pathway inhibitor: cloning, "
            "structure determination and interaction with factor Xa.",
            journal="J.Mol.Biol.",
            volume="269",
            first_page="395",
            year="1997",
        ),
        first_residue=9,  # 1-8 are the expression tag DYKDDDDK
    ),
    Example(
        folder="trypsin",
        stem="1trn",
        pdb_id="1trn",
        files=("trypsins/1TRN_A.pdb.gz",),
        molecule="Trypsin-1, Homo sapiens",
        title="Crystal structure of human trypsin 1: unexpected phosphorylation of tyrosine 151, "
        "chain A",
        method="X-RAY DIFFRACTION",
        resolution=2.20,
        citation=Citation(
            authors=(
                "Gaboriaud, C.",
                "Serre, L.",
                "Guy-Crotte, O.",
                "Forest, E.",
                "Fontecilla-Camps, J.C.",
            ),
            title="Crystal structure of human trypsin 1: unexpected phosphorylation of Tyr151.",
            journal="J.Mol.Biol.",
            volume="259",
            first_page="995",
            year="1996",
        ),
    ),
    Example(
        folder="malate_dehydrogenase",
        stem="1mld_AB",
        pdb_id="1mld",
        files=("ldh/1mld_A.pdb.gz", "ldh/1mld_B.pdb.gz"),
        molecule="Malate dehydrogenase, mitochondrial, Sus scrofa",
        title="Refined structure of mitochondrial malate dehydrogenase from porcine heart and the "
        "consensus structure for dicarboxylic acid oxidoreductases, chains A and B",
        method="X-RAY DIFFRACTION",
        resolution=1.83,
        citation=Citation(
            authors=("Gleason, W.B.", "Fu, Z.", "Birktoft, J.", "Banaszak, L."),
            title="Refined crystal structure of mitochondrial malate dehydrogenase from porcine "
            "heart and the consensus structure for dicarboxylic acid oxidoreductases.",
            journal="Biochemistry",
            volume="33",
            first_page="2078",
            year="1994",
        ),
        compressed=True,
    ),
)


LIBRARY = (
    Known("1au8_A", "trypsins/1AU8_A.pdb.gz", "Cathepsin G, Homo sapiens"),
    Known("1azz_A", "trypsins/1AZZ_A.pdb.gz", "Collagenase, Celuca pugilator"),
    Known("1bru_P", "trypsins/1BRU_P.pdb.gz", "Elastase-2, Sus scrofa"),
    Known("1dan_H", "trypsins/1DAN_H.pdb.gz", "Coagulation factor VIIa, Homo sapiens"),
    Known("1ekb_B", "trypsins/1EKB_B.pdb.gz", "Enteropeptidase, Bos taurus"),
    Known("1eq9_A", "trypsins/1EQ9_A.pdb.gz", "Chymotrypsin, Solenopsis invicta"),
    Known("1fiw_A", "trypsins/1FIW_A.pdb.gz", "Acrosin, Ovis aries"),
    Known("1fjs_A", "trypsins/1FJS_A.pdb.gz", "Coagulation factor Xa, Homo sapiens"),
    Known("1iau_A", "trypsins/1IAU_A.pdb.gz", "Granzyme B, Homo sapiens"),
    Known("2ptc_I", str(BPTI), "Pancreatic trypsin inhibitor, Bos taurus"),
    Known("1a5z_A", "ldh/1a5z_A.pdb.gz", "Lactate dehydrogenase, Thermotoga maritima"),
    Known("1b8p_A", "ldh/1b8p_A.pdb.gz", "Malate dehydrogenase, Aquaspirillum arcticum"),
    Known("1guz_A", "ldh/1guz_A.pdb.gz", "Malate dehydrogenase, Chlorobium vibrioforme"),
    Known("1hyg_A", "ldh/1hyg_A.pdb.gz", "Malate dehydrogenase, Methanocaldococcus jannaschii"),
    Known("1ldm_A", "ldh/1ldm_A.pdb.gz", "Lactate dehydrogenase, Squalus acanthias"),
    Known("5mdh_A", "ldh/5mdh_A.pdb.gz", "Malate dehydrogenase, cytoplasmic, Sus scrofa"),
)


def write(path: Path, content: bytes) -> None:
    """Write the file under a temporary name, then rename it."""
    part = path.with_name(f"{path.name}.part")
    part.write_bytes(content)
    part.replace(path)
    print(f"{path.relative_to(HERE)}  {len(content):,} bytes")


def read_structure(
    pdb_id: str, files: tuple[str, ...], first_residue: int = -10_000
) -> gemmi.Structure:
    """The protein chains of files: first model, first conformer, no hydrogens, no ligands."""
    structure = gemmi.Structure()
    structure.name = f"{pdb_id}_excerpt"  # the archive's own names are for whole entries
    model = gemmi.Model(1)
    for file in files:
        data = (STRUCTURES / file).read_bytes()
        text = (gzip.decompress(data) if file.endswith(".gz") else data).decode("ascii")
        # Some files have line numbers in place of element and charge, from column 73 on.
        deposited = gemmi.read_pdb_string("\n".join(line[:72] for line in text.splitlines()))
        for chain in deposited[0]:
            model.add_chain(chain)
    structure.add_model(model)
    structure.add_entity_types(overwrite=True)
    structure.remove_hydrogens()
    structure.remove_alternative_conformations()
    structure.remove_ligands_and_waters()
    for chain in structure[0]:
        for index in reversed(range(len(chain))):
            if chain[index].seqid.num < first_residue:
                del chain[index]
        for residue in chain:
            residue.subchain = chain.name
    structure.ensure_entities()
    for entity in structure.entities:
        chain = structure[0][entity.subchains[0]]
        entity.full_sequence = [residue.name for residue in chain]
    structure.deduplicate_entities()
    for number, entity in enumerate(structure.entities, start=1):
        entity.name = str(number)
    structure.assign_label_seq_id()
    return structure


def block_of(structure: gemmi.Structure, pdb_id: str, title: str, method: str) -> gemmi.cif.Block:
    """The structure as mmCIF, with the entry's title and method."""
    groups = gemmi.MmcifOutputGroups(False)
    groups.atoms = groups.entity = groups.entity_poly = groups.entity_poly_seq = True
    groups.struct_asym = groups.block_name = groups.entry = groups.group_pdb = True
    block = structure.make_mmcif_block(groups)
    block.set_pair("_database_2.database_id", "PDB")
    block.set_pair("_database_2.database_code", pdb_id.upper())
    block.set_pair("_struct.entry_id", structure.name)
    block.set_pair("_struct.title", gemmi.cif.quote(title))
    block.set_pair("_exptl.entry_id", structure.name)
    block.set_pair("_exptl.method", gemmi.cif.quote(method))
    return block


def mmcif(structure: gemmi.Structure, example: Example) -> bytes:
    """The structure as mmCIF, with the entry's resolution and citation too."""
    block = block_of(structure, example.pdb_id, example.title, example.method)
    if example.resolution is not None:
        block.set_pair("_refine.entry_id", structure.name)
        block.set_pair("_refine.ls_d_res_high", f"{example.resolution:.2f}")
    citation = example.citation
    block.set_pair("_citation.id", "primary")
    block.set_pair("_citation.title", gemmi.cif.quote(citation.title))
    block.set_pair("_citation.journal_abbrev", gemmi.cif.quote(citation.journal))
    block.set_pair("_citation.journal_volume", citation.volume)
    block.set_pair("_citation.page_first", citation.first_page)
    block.set_pair("_citation.year", citation.year)
    authors = block.init_loop("_citation_author.", ["citation_id", "name", "ordinal"])
    for ordinal, name in enumerate(citation.authors, start=1):
        authors.add_row(["primary", gemmi.cif.quote(name), str(ordinal)])
    return block.as_string().encode("ascii")


def fasta(structure: gemmi.Structure, example: Example) -> str:
    """One record per chain; the name is the PDB id, with the chain where there are several."""
    records = []
    several = len(structure[0]) > 1
    for chain in structure[0]:
        name = f"{example.pdb_id}_{chain.name}" if several else example.pdb_id
        span = f"residues {chain[0].seqid}-{chain[-1].seqid}"
        source = f"PDB {example.pdb_id.upper()} chain {chain.name} {span}"
        sequence = gemmi.one_letter_code([residue.name for residue in chain])
        records.append(f">{name} {example.molecule}; {source}\n{sequence}\n")
    return "".join(records)


def library_entry(known: Known) -> bytes:
    """A chain of the library as packed mmCIF; the files say nothing of dates and resolutions."""
    pdb_id, _, chain = known.name.partition("_")
    structure = read_structure(pdb_id, (known.file,))
    block = block_of(structure, pdb_id, f"{known.molecule}, chain {chain}", "X-RAY DIFFRACTION")
    return gzip.compress(block.as_string().encode("ascii"), mtime=0)


def mmseqs(*arguments: str | Path) -> str:
    """Run one MMseqs2 module and return what it printed."""
    command = ["mmseqs", *(str(argument) for argument in arguments)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def uniprot() -> dict[str, tuple[str, str]]:
    """Return the whole header and the sequence of each protein of mmseqs2-examples by accession."""
    found = {}
    with gzip.open(SEQUENCES, "rt", encoding="ascii") as handle:
        for line, sequence in zip(handle, handle, strict=True):
            header = line[1:].partition(" Split=")[0].strip()
            found[header.split("|")[1]] = header, sequence.strip()
    return found


def database(proteins: dict[str, tuple[str, str]], homologues: set[str]) -> bytes:
    """Return a packed FASTA file of the examples' homologues and, of the others, every 20th."""
    kept = [
        f">{header}\n{sequence}\n"
        for number, (name, (header, sequence)) in enumerate(proteins.items())
        if len(sequence) <= LONGEST and (name in homologues or number % EVERY == 0)
    ]
    return gzip.compress("".join(kept).encode("ascii"), mtime=0)


def alignment(query: str, proteins: dict[str, tuple[str, str]]) -> str:
    """The a3m of a one-record FASTA text against the sequences of mmseqs2-examples."""
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        (work / "query.fasta").write_text(query)
        mmseqs("createdb", work / "query.fasta", work / "query")
        mmseqs("createdb", SEQUENCES, work / "target")
        databases = [work / "query", work / "target", work / "result"]
        mmseqs("search", *databases, work / "tmp", *SEARCH_OPTIONS)
        mmseqs("result2msa", *databases, work / "msa", *MSA_OPTIONS)
        rows = (work / "msa").read_text().rstrip("\0").splitlines()
    found = [f">{proteins[row[1:]][0]}" if row.startswith(">") else row for row in rows[2:]]
    return query + "".join(f"{row}\n" for row in found)


def write_complex(path: Path, chains: dict[str, list[str]]) -> None:
    """Write a job in AlphaFold 3's JSON that names the alignments of `chains` and their copies.

    The rows of each alignment may be paired by species or remain unpaired.
    """
    sequences = []
    for stem, ids in chains.items():
        text = (HERE / f"{stem}.fasta").read_text("ascii")
        alignment = (HERE / f"{stem}.a3m").relative_to(path.parent).as_posix()
        protein: dict[str, object] = {"id": ids, "sequence": text.splitlines()[1]}
        protein["unpairedMsaPath"] = alignment
        if len(chains) > 1:
            protein["pairedMsaPath"] = alignment
        sequences.append({"protein": protein})
    job = {"name": path.stem, "sequences": sequences, "dialect": "alphafold3", "version": 2}
    job["modelSeeds"] = [0]
    write(path, f"{json.dumps(job, indent=2)}\n".encode("ascii"))


def main() -> None:
    """Write every file of every example and print the programs' versions."""
    print(f"gemmi {gemmi.__version__}, MMseqs2 {mmseqs('version').strip()}")
    proteins, homologues = uniprot(), set[str]()
    for example in EXAMPLES:
        folder = HERE / example.folder
        folder.mkdir(exist_ok=True)
        structure = read_structure(example.pdb_id, example.files, example.first_residue)
        records = fasta(structure, example)
        write(folder / f"{example.stem}.fasta", records.encode("ascii"))
        text = mmcif(structure, example)
        if example.compressed:
            write(folder / f"{example.stem}.cif.gz", gzip.compress(text, mtime=0))
        else:
            write(folder / f"{example.stem}.cif", text)
        # The chains of a homodimer share one alignment, made for the first.
        first = "".join(records.splitlines(keepends=True)[:2])
        rows = alignment(first, proteins)
        homologues |= {line.split("|")[1] for line in rows.splitlines() if line.count("|") == 2}
        write(folder / f"{example.stem}.a3m", rows.encode("ascii"))
    library = HERE / "database" / "structures"
    library.mkdir(parents=True, exist_ok=True)
    write(HERE / "database" / "proteins.fasta.gz", database(proteins, homologues))
    for known in LIBRARY:
        write(library / f"{known.name.partition('_')[0]}.cif.gz", library_entry(known))
    dimer = "malate_dehydrogenase/1mld_AB"
    write_complex(HERE / f"{dimer}.json", {dimer: ["A", "B"]})
    write_complex(HERE / "trypsin_kunitz.json", {"trypsin/1trn": ["A"], "kunitz/1adz": ["B"]})


if __name__ == "__main__":
    main()
