"""How a model was made and may be used, in ModelCIF: software, protocol, licence, dates."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from foldry.formats.cif_table import (
    INAPPLICABLE,
    UNKNOWN,
    Category,
    Rows,
    known_date,
    plain,
    single_row,
)
from foldry.formats.model_record import ModelRecord, Step

CC_BY: Final = "CC BY 4.0"
CC_BY_URL: Final = "https://creativecommons.org/licenses/by/4.0/"
CREATED: Final = "created"
"""The parameter that holds the time of the prediction."""
NO_SOFTWARE: Final = "unknown"
"""The software of a step whose software is not known."""
_ALPHAFOLD_TERMS: Final = (
    "The parameters of AlphaFold and of mini are available under CC BY 4.0, and so is this "
    "prediction: cite Jumper et al. 2021 (doi:10.1038/s41586-021-03819-2)"
)
_MULTIMER: Final = " and Evans et al. 2021 (doi:10.1101/2021.10.04.463034)"
_THEORETICAL: Final = (
    "It is a theoretical model, given as it is, without warranty, and not for clinical use."
)
_RELAXED: Final = "Energy minimised in Amber's force field, restrained to the prediction."
_ABOUT: Final = {
    "foldry": "The AlphaFold 2 network",
    "torch": "Numerical library",
    "numpy": "Numerical library",
    "openmm": "Molecular mechanics, Amber's force field",
    "pdbfixer": "Missing atoms",
}
_ALPHAFOLD: Final = ("foldry", "alphafold", "colabfold")
"""Software, in lower case, that makes predictions by the network of Jumper et al. 2021."""
_CITATION: Final = {
    "id": "1",
    "title": "Highly accurate protein structure prediction with AlphaFold.",
    "journal_abbrev": "Nature",
    "journal_volume": "596",
    "page_first": "583",
    "page_last": "589",
    "year": "2021",
    "journal_id_ASTM": "NATUAS",
    "journal_id_CSD": "0006",
    "journal_id_ISSN": "0028-0836",
    "pdbx_database_id_PubMed": "34265844",
    "pdbx_database_id_DOI": "10.1038/s41586-021-03819-2",
}
_AUTHORS: Final = (
    *("Jumper, J.", "Evans, R.", "Pritzel, A.", "Green, T.", "Figurnov, M.", "Ronneberger, O."),
    *("Tunyasuvunakool, K.", "Bates, R.", "Zidek, A.", "Potapenko, A.", "Bridgland, A."),
    *("Meyer, C.", "Kohl, S.A.A.", "Ballard, A.J.", "Cowie, A.", "Romera-Paredes, B."),
    *("Nikolov, S.", "Jain, R.", "Adler, J.", "Back, T.", "Petersen, S.", "Reiman, D."),
    *("Clancy, E.", "Zielinski, M.", "Steinegger, M.", "Pacholska, M.", "Berghammer, T."),
    *("Bodenstein, S.", "Silver, D.", "Vinyals, O.", "Senior, A.W.", "Kavukcuoglu, K."),
    *("Kohli, P.", "Hassabis, D."),
)


def usage_terms(model_name: str, licence: str, software: Iterable[str]) -> str:
    """Return the terms on which a prediction may be used, and what to cite.

    Args:
        model_name, licence: As in `ModelRecord`.
        software: Names of the software that predicted it.
    """
    if licence != CC_BY:
        terms = f"The parameters of this network have their own licence ({licence})"
    elif any(map(_is_alphafold, software)):
        terms = f"{_ALPHAFOLD_TERMS}{_MULTIMER if 'multimer' in model_name else ''}"
    else:
        terms = f"This prediction is available under {CC_BY}"
    return f"{terms}. {_THEORETICAL}"


def _is_alphafold(software: str) -> bool:
    return software.lower() in _ALPHAFOLD


def history_categories(record: ModelRecord, num_entities: int) -> Iterator[Category]:
    """Yield the categories that say how a model was made and may be used."""
    prediction = record.prediction
    if created := plain(record.created):
        parameters = {CREATED: created, **prediction.parameters}
        prediction = Step(prediction.versions, parameters)
    steps = [("Prediction", "modeling", record.inputs, prediction)]
    if record.relaxation is not None:
        steps.append(("Relaxation", "model refinement", _RELAXED, record.relaxation))
    yield from _software([step for *_, step in steps])
    protocol = Rows("_ma_protocol_step")
    for number, (name, method, details, _) in enumerate(steps, start=1):
        protocol.add(
            ordinal_id=number,
            protocol_id=1,
            step_id=number,
            method_type=method,
            step_name=name,
            details=plain(details),
            software_group_id=number,
            input_data_group_id=1 if number == 1 else 2,
            output_data_group_id=2,
        )
    yield from protocol.category()
    if record.authors:
        authors = [plain(name) for name in record.authors]
        ordinals = list(range(1, len(authors) + 1))
        yield Category("_audit_author", {"name": authors, "pdbx_ordinal": ordinals})
    yield from _usage(record)
    if record.version is not None:
        yield single_row(
            "_pdbx_audit_revision_history",
            ordinal=1,
            data_content_type="Structure model",
            major_revision=record.version,
            minor_revision=0,
            revision_date=known_date(record.created[:10]),
        )


def _software(steps: list[Step]) -> Iterator[Category]:
    """Yield the packages of each step; the first one has the parameters."""
    software, groups = Rows("_software"), Rows("_ma_software_group")
    parameters = Rows("_ma_software_parameter")
    is_cited = False
    for number, step in enumerate(steps, start=1):
        flat = dict(_flat(step.parameters))
        for place, (name, version) in enumerate((step.versions or {NO_SOFTWARE: ""}).items()):
            by_alphafold = _is_alphafold(name)
            is_cited |= by_alphafold
            package = software.add(
                pdbx_ordinal=len(software) + 1,
                name=plain(name),
                classification="model building",
                description=_ABOUT.get(name.lower(), UNKNOWN),
                version=plain(version),
                type="package",
                location=INAPPLICABLE,
                citation_id=1 if by_alphafold else INAPPLICABLE,
            )
            has_parameters = flat and not place
            groups.add(
                ordinal_id=package,
                group_id=number,
                software_id=package,
                parameter_group_id=number if has_parameters else INAPPLICABLE,
            )
        for name, value in flat.items():
            kind, text = _typed(value)
            parameters.add(
                parameter_id=len(parameters) + 1,
                group_id=number,
                data_type=kind,
                name=name,
                value=text,
                description=INAPPLICABLE,
            )
    if is_cited:
        yield single_row("_citation", **_CITATION)
        numbers = list(range(1, len(_AUTHORS) + 1))
        columns = {"citation_id": [1] * len(numbers), "name": _AUTHORS, "ordinal": numbers}
        yield Category("_citation_author", columns)
    for rows in (software, parameters, groups):
        yield from rows.category()


def _flat(values: Mapping[str, object], prefix: str = "") -> Iterator[tuple[str, object]]:
    """Yield nested values by dotted names."""
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield plain(prefix + name), value


def _typed(value: object) -> tuple[str, str]:
    """Return the type of a parameter and its value as text."""
    if isinstance(value, bool):
        return "boolean", "YES" if value else "NO"
    if isinstance(value, int):
        return "integer", str(value)
    if isinstance(value, float) and math.isfinite(value):
        return "float", repr(value)
    if isinstance(value, list) and value and all(isinstance(each, str) for each in value):
        return "string", plain(", ".join(value))
    return "string", plain(value if isinstance(value, str) else json.dumps(value))


def _usage(record: ModelRecord) -> Iterator[Category]:
    usage, licence = Rows("_pdbx_data_usage"), plain(record.licence)
    if licence:
        usage.add(
            id=1,
            type="license",
            details=plain(usage_terms(record.model_name, licence, record.prediction.versions)),
            url=CC_BY_URL if licence == CC_BY else UNKNOWN,
            name=licence,
        )
    if notice := plain(record.notice):
        number = len(usage) + 1
        usage.add(id=number, type="disclaimer", details=notice, url=UNKNOWN, name=UNKNOWN)
    yield from usage.category()
