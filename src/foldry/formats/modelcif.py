"""Conversion of predictions to ModelCIF, by python-modelcif."""

# mypy: allow-subclassing-any
from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final
from unicodedata import combining, normalize

import ihm
import ihm.citations
import modelcif
import modelcif.data
import modelcif.dumper
import modelcif.model
import modelcif.protocol
import modelcif.qa_metric
import numpy as np
from jaxtyping import Float, Num

from foldry.formats.modelcif_templates import aligned_templates
from foldry.measures import MEASURES, Measure
from foldry.query import Hit, Query
from foldry.residues import ATOM37
from foldry.structure import Structure

LICENCE_NAME: Final = "CC BY 4.0"
LICENCE_URL: Final = "https://creativecommons.org/licenses/by/4.0/"
_CC_BY: Final = (
    "The parameters of AlphaFold and of mini are available under CC BY 4.0, and so is this "
    "prediction: cite Jumper et al. 2021 (doi:10.1038/s41586-021-03819-2)"
)
_MULTIMER: Final = " and Evans et al. 2021 (doi:10.1101/2021.10.04.463034)"
_THEORETICAL: Final = (
    "It is a theoretical model, given as it is, without warranty, and not for clinical use."
)
_BARE: Final = re.compile(r"(?!(data|save|loop|stop|global)_)[a-z0-9][\w.:/+=-]*", re.I | re.A)
_ASCII: Final = str.maketrans("αβ–−", "ab--")


@dataclass(frozen=True)
class ChainMetric:
    """A quality measure of all chains or of all pairs of chains.

    Attributes:
        measure: The measure, which has a `kind`.
        values: [C] for chains, or [C, C] for pairs, where the row is the aligned chain; NaN is left
            out.
    """

    measure: Measure
    values: Num[np.ndarray, " C *other"]


@dataclass(frozen=True)
class Step:
    """One step that made or changed a model.

    Attributes:
        versions: Versions of the software, at least one.
        parameters: Settings and outcome: names and plain values, which may be nested.
    """

    versions: Mapping[str, str]
    parameters: Mapping[str, object]


@dataclass(frozen=True)
class ModelRecord:
    """The content of a ModelCIF file besides the atoms.

    Attributes:
        model_name: Name of the network, e.g. `model_1_ptm`.
        plddt: pLDDT of each residue, 0–100.
        ptm, iptm: Predicted TM-scores, or None.
        prediction: Versions of `foldry` and its libraries, and how the model was predicted.
        notice: A warning to every reader, or "".
        licence: Licence of the network's parameters; "" for CC BY 4.0.
        of_chains: Measures of the chains of a complex, in the order of the structure.
        relaxation: How the atoms were relaxed; None if they are the output of the network.
        templates: The templates that the network read, by chain.
    """

    model_name: str
    plddt: Float[np.ndarray, " N"]
    ptm: float | None
    iptm: float | None
    prediction: Step
    notice: str = ""
    licence: str = ""
    of_chains: Sequence[ChainMetric] = ()
    relaxation: Step | None = None
    templates: Mapping[str, Sequence[Hit]] = field(default_factory=dict)


class _Protein(modelcif.Entity):
    """A protein; python-modelcif would treat one with a single residue as a ligand."""

    _force_polymer = True


class _Atoms(modelcif.model.AbInitioModel):
    """The atoms of a structure, created only when they are written."""

    def __init__(self, structure: Structure, units: list[modelcif.AsymUnit], name: str) -> None:
        super().__init__(modelcif.Assembly(units, name="Whole model"), name)
        self._structure = structure
        self._units = units

    def get_atoms(self) -> Iterator[modelcif.model.Atom]:
        """Yield the atoms in the order of the file."""
        structure = self._structure
        for row, (unit, number) in enumerate(_places(self._units)):
            for slot in np.flatnonzero(structure.atom_mask[row]):
                name = ATOM37[slot]
                place = structure.atom_positions[row, slot].tolist()
                biso = float(structure.b_factor[row, slot])
                yield modelcif.model.Atom(
                    unit, number, name, name[0], *place, biso=biso, occupancy=1.0
                )


def to_modelcif(query: Query, structure: Structure, record: ModelRecord) -> str:
    """Return the ModelCIF text of one prediction: Å, pLDDT as `B_iso` and as quality metrics.

    `label_seq_id` counts residues from 1 in every chain; `auth_seq_id` has the numbers of
    `structure`, whose rows are the residues of the query's chains, with copies of a chain together.
    """
    title = f"Prediction of {query.name} by {record.model_name}"
    system = modelcif.System(title=_plain(title), id="model")
    system.authors.append("Foldry")
    units = _units(query, structure)
    model = _Atoms(structure, units, _plain(f"{record.model_name} of Foldry"))
    whole = {"mean_plddt": float(np.mean(record.plddt)), "ptm": record.ptm, "iptm": record.iptm}
    plddt = _metric(modelcif.qa_metric.Local, MEASURES["plddt"])
    for key, score in whole.items():
        if score is not None:
            model.qa_metrics.append(_metric(modelcif.qa_metric.Global, MEASURES[key])(score))
    for (unit, number), value in zip(_places(units), record.plddt, strict=True):
        model.qa_metrics.append(plddt(unit.residue(number), float(value)))
    for metric in record.of_chains:
        model.qa_metrics += _of_chains(metric, units)
    system.model_groups.append(modelcif.model.ModelGroup([model], name="Prediction"))
    sequences = [chain.sequence for chain in query.chains for _ in chain.ids]
    chains = [
        (unit, sequence, record.templates.get(unit.id, ()))
        for unit, sequence in zip(units, sequences, strict=True)
    ]
    for template, alignment in aligned_templates(chains, _entity, _plain):
        system.templates.append(template)
        system.alignments.append(alignment)
    system.protocols.append(_protocol(query, units, model, record))
    terms = _plain(usage_terms(record.model_name, record.licence))
    name, url = (_plain(record.licence), None) if record.licence else (LICENCE_NAME, LICENCE_URL)
    system.data_usage.append(ihm.License(terms, name=name, url=url))
    if record.notice:
        system.data_usage.append(ihm.Disclaimer(_plain(record.notice)))
    text = io.StringIO()
    # The checks refuse a chain without atoms, such as one of unknown residues only.
    modelcif.dumper.write(text, [system], check=False)
    return text.getvalue()


def usage_terms(model_name: str, licence: str) -> str:
    """Return the terms on which a prediction may be used, and what to cite.

    Args:
        model_name, licence: As in `ModelRecord`.
    """
    if licence:
        terms = f"The parameters of this network have their own licence ({licence})"
    else:
        terms = f"{_CC_BY}{_MULTIMER if 'multimer' in model_name else ''}"
    return f"{terms}. {_THEORETICAL}"


class _Other(modelcif.qa_metric.MetricType):
    """Score that increases with confidence."""


_KINDS: Final = {
    "pLDDT": modelcif.qa_metric.PLDDT,
    "pTM": modelcif.qa_metric.PTM,
    "ipTM": modelcif.qa_metric.IpTM,
    "PAE": modelcif.qa_metric.PAE,
    "normalized score": modelcif.qa_metric.NormalizedScore,
    "other": _Other,
}


def _metric(mode: type, measure: Measure) -> type:
    """Return the class of a quality metric; python-modelcif needs a class for each."""
    details = _plain(", ".join(filter(None, (measure.meaning, measure.unit))))
    about = {"name": _plain(measure.name), "description": details, "software": None}
    return type("_Metric", (mode, _KINDS[measure.kind]), about)


def _of_chains(
    metric: ChainMetric, units: list[modelcif.AsymUnit]
) -> Iterator[modelcif.qa_metric.MetricMode]:
    """Yield the numbers of a measure, each with a feature for its chain or its two chains."""
    modes = modelcif.qa_metric.Feature, modelcif.qa_metric.FeaturePairwise
    kind = _metric(modes[metric.values.ndim - 1], metric.measure)
    features = [modelcif.EntityInstanceFeature([unit], f"Chain {unit.id}") for unit in units]
    for place in np.argwhere(np.isfinite(metric.values)):
        yield kind(*[features[k] for k in place], float(metric.values[tuple(place)]))


def _units(query: Query, structure: Structure) -> list[modelcif.AsymUnit]:
    """Return the chains; those of equal sequence share one entity."""
    entities: dict[str, _Protein] = {}
    units = []
    for chain in query.chains:
        title = _plain(f"{query.name}, chain {' '.join(chain.ids)}")
        entity = entities.setdefault(chain.sequence, _entity(chain.sequence, title))
        for chain_id in chain.ids:
            numbers = structure.residue_number[structure.chain_id == chain_id].tolist()
            unit = modelcif.AsymUnit(entity, details=f"Chain {chain_id}", id=chain_id)
            unit.auth_seq_id_map = dict(enumerate(numbers, start=1))
            units.append(unit)
    return units


def _entity(sequence: str, title: str) -> _Protein:
    letters = ["UNK" if letter == "X" else letter for letter in sequence]
    return _Protein(letters, description=title)


def _places(units: list[modelcif.AsymUnit]) -> Iterator[tuple[modelcif.AsymUnit, int]]:
    """Yield the chain of every residue and its position there, counted from 1."""
    for unit in units:
        for number in range(1, len(unit.entity.sequence) + 1):
            yield unit, number


def _protocol(
    query: Query, units: list[modelcif.AsymUnit], model: _Atoms, record: ModelRecord
) -> modelcif.protocol.Protocol:
    protocol = modelcif.protocol.Protocol()
    entities = modelcif.data.DataGroup(dict.fromkeys(unit.entity for unit in units))
    step = modelcif.protocol.ModelingStep(entities, model, name="Prediction")
    step.details = _plain(_inputs(query, record.model_name))
    step.software = _software(record.prediction)
    protocol.steps.append(step)
    if record.relaxation is not None:
        step = modelcif.protocol.ModelRefinementStep(model, model, name="Relaxation")
        step.details = "Energy minimised in Amber's force field, restrained to the prediction."
        step.software = _software(record.relaxation)
        protocol.steps.append(step)
    return protocol


_ABOUT: Final = {
    "foldry": "The AlphaFold 2 network",
    "openmm": "Molecular mechanics, Amber's force field",
    "pdbfixer": "Missing atoms",
}


def _software(step: Step) -> modelcif.SoftwareGroup:
    """Return the packages of one step; the first one has the parameters."""
    packages = [
        modelcif.Software(
            name=name,
            classification="model building",
            description=_ABOUT.get(name, "Numerical library"),
            location=None,
            type="package",
            version=_plain(version),
            citation=ihm.citations.alphafold2 if name == "foldry" else None,
        )
        for name, version in step.versions.items()
    ]
    flat = [modelcif.SoftwareParameter(name, value) for name, value in _flat(step.parameters)]
    packages[0] = modelcif.SoftwareWithParameters(packages[0], flat)
    return modelcif.SoftwareGroup(packages)


def _inputs(query: Query, model_name: str) -> str:
    """Return one sentence about the input of the network."""
    rows = sum(each.num_rows for chain in query.chains for each in chain.alignments)
    names = list(dict.fromkeys(hit.name for chain in query.chains for hit in chain.templates))
    alignment = f"an alignment of {rows} sequences" if rows else "no alignment"
    templates = f"templates: {', '.join(names)}" if names else "no templates"
    return f"Predicted by {model_name} from the sequence with {alignment} and {templates}."


def _flat(values: Mapping[str, object], prefix: str = "") -> Iterator[tuple[str, int | bool | str]]:
    """Yield nested values by dotted names; floats as text: the writer keeps only 3 decimals."""
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        elif isinstance(value, bool | int):
            yield _plain(prefix + name), value
        elif isinstance(value, list) and value and all(isinstance(each, str) for each in value):
            yield _plain(prefix + name), _plain(", ".join(value))
        else:
            text = value if isinstance(value, str) else json.dumps(value)
            yield _plain(prefix + name), _plain(text)


def _plain(text: str) -> str:
    """Return one line of ASCII without characters that the writer cannot quote in CIF."""
    letters = [each for each in normalize("NFKD", text.translate(_ASCII)) if not combining(each)]
    visible = "".join(each if each.isprintable() else " " for each in letters)
    ascii_text = visible.encode("ascii", "replace").decode()
    line = " ".join(ascii_text.replace('"', "'").replace("\\", "/").split())
    # The writer quotes a text with a space, so that no word is read as a keyword of CIF.
    return line if " " in line or _BARE.fullmatch(line) else f"{line} "
