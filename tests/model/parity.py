"""The recorded official cases: reading and running them, and recording Foldry's own numbers."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from foldry.features.config import FeatureConfig
from foldry.features.features import Features, MSADraw
from foldry.features.msa import read_rows
from foldry.features.sequence import target_feat
from foldry.features.templates import template_features_of_atoms
from foldry.model.alphafold import AlphaFold
from foldry.model.config import ModelConfig
from foldry.model.inputs import Inputs, MSAInputs, stack_draws, stack_features, stack_templates
from foldry.model.runtime import Runtime
from foldry.predict.confidence import confidence
from foldry.predict.recycle import recycle
from foldry.residues import ATOM37_MASK
from foldry.weights.official import from_official
from tests.model.official_config import config_from_official

FED = ("index_order", "msa", "bert_mask")
"""The random draws in each pass of a complex, which determine all features of its alignment."""
TORSIONS = {
    "torsion_angles_sin_cos": "torsion_sin_cos",
    "alt_torsion_angles_sin_cos": "torsion_alt_sin_cos",
    "torsion_angles_mask": "torsion_mask",
}
PAIR_MODULES = (
    "triangle_multiplication_outgoing",
    "triangle_multiplication_incoming",
    "triangle_attention_starting_node",
    "triangle_attention_ending_node",
    "pair_transition",
)


def cases(root: Path) -> list[Path]:
    """Return the folders of cases in `root/model`, or in `root` itself."""
    model = root / "model" if (root / "model").is_dir() else root
    return sorted(path.parent for path in model.glob("*/config.json"))


def arrays(path: Path) -> dict[str, np.ndarray]:
    """Return all arrays of a file, or none if it does not exist."""
    if not path.is_file():
        return {}
    with np.load(path, allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


@dataclass
class Case:
    """One recorded run of the official program."""

    folder: Path
    config: dict[str, Any]

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.config = json.loads((folder / "config.json").read_text())

    @property
    def is_multimer(self) -> bool:
        return "multimer" in self.config["model"]

    @property
    def dtype(self) -> torch.dtype:
        """The precision of the embedders and the Evoformer."""
        half = self.config["model_config"]["global_config"].get("bfloat16", False)
        return torch.bfloat16 if half else torch.float32

    @property
    def needed(self) -> tuple[Path, ...]:
        """The files that running the case needs."""
        fed = ("inputs.npz", "intermediates.npz") if self.is_multimer else ("inputs.npz",)
        return (self.folder / self.config["params"], *(self.folder / name for name in fed))

    @property
    def residues(self) -> np.ndarray:
        """Whether each position is a residue, not padding."""
        mask = arrays(self.folder / "inputs.npz")["seq_mask"]
        return (mask if self.is_multimer else mask[0]) == 1

    def override(self, name: str, default: Any) -> Any:
        return self.config["overrides"].get(name, default)

    def model_config(self) -> ModelConfig:
        features = None
        if not self.is_multimer:
            members = int(self.override("data.eval.num_ensemble", 1))
            features = FeatureConfig(0, 0, 0, num_ensemble=members)
        return config_from_official(self.config["model"], self.config["model_config"], features)

    def model(self, **runtime: Any) -> AlphaFold:
        config = self.model_config()
        params = arrays(self.folder / self.config["params"])
        model = AlphaFold(config, Runtime(dtype=self.dtype, **runtime))
        model.load_state_dict(from_official(params, config))
        return model.eval()

    def inputs(self, torsions: dict[str, np.ndarray]) -> tuple[Inputs, Callable[[int], list]]:
        """Return the network's inputs, and a function that returns the draws of a pass.

        Args:
            torsions: Template torsions to use in place of Foldry's, because the recorded ones hold
                rounding noise where an angle is undefined; empty for none.
        """
        if self.is_multimer:
            features = self.features()
            members = features.config.num_ensemble
            return stack_features([features]), lambda cycle: [
                stack_draws([self.multimer_draw(features, cycle * members + member)])
                for member in range(members)
            ]
        fed = arrays(self.folder / "inputs.npz")
        first = {name: torch.from_numpy(array[:1]) for name, array in fed.items()}
        ones = torch.ones_like(first["aatype"])
        templates = None
        if "template_aatype" in fed:
            templates = template_features_of_atoms(
                fed["template_aatype"][0],
                fed["template_all_atom_positions"][0],
                fed["template_all_atom_masks"][0],
            )
            fed_too = {
                "mask": fed["template_mask"][0],
                "pseudo_beta": fed["template_pseudo_beta"][0],
                "pseudo_beta_mask": fed["template_pseudo_beta_mask"][0],
            }
            renamed = {TORSIONS[name]: array for name, array in torsions.items()}
            templates = replace(templates, **fed_too, **renamed)
        inputs = Inputs(
            aatype=first["aatype"].long(),
            target_feat=first["target_feat"],
            residue_index=first["residue_index"].long(),
            asym_id=ones,
            entity_id=ones,
            sym_id=ones,
            seq_mask=first["seq_mask"],
            templates=None if templates is None else stack_templates([templates]),
        )
        num_draws, members = len(fed["msa_feat"]), self.model_config().features.num_ensemble

        def draw(cycle: int) -> list[MSAInputs]:
            chosen = [(cycle * members + member) % num_draws for member in range(members)]
            return [self.draw(fed, index) for index in chosen]

        return inputs, draw

    def features(self) -> Features:
        """Return a complex as Foldry's features, its alignment without padding rows."""
        fed = arrays(self.folder / "inputs.npz")
        rows = fed["msa_mask"].any(axis=1)
        return Features(
            aatype=fed["aatype"],
            target_feat=target_feat(fed["aatype"]),
            residue_index=fed["residue_index"],
            **{name: fed[name].astype(np.int64) for name in ("asym_id", "entity_id", "sym_id")},
            seq_mask=fed["seq_mask"],
            msa=fed["msa"][rows],
            deletion_matrix=fed["deletion_matrix"][rows],
            templates=template_features_of_atoms(
                fed["template_aatype"],
                fed["template_all_atom_positions"],
                fed["template_all_atom_mask"],
            ),
            config=self.model_config().features,
            seed=0,
        )

    def multimer_draw(self, features: Features, call: int) -> MSADraw:
        """Return Foldry's features of the recorded draw of rows and masked letters."""
        recorded = arrays(self.folder / "intermediates.npz")
        order, msa, mask = (recorded[f"c{call}/msa/{name}"] for name in FED)
        order = order[order < len(features.msa)]  # padding is last, before and after the draw
        num_rows = min(len(order), features.config.num_msa)
        masked = msa[:num_rows].astype(np.int64)
        return padded(read_rows(features, order, masked, mask[:num_rows]), features.config)

    @staticmethod
    def draw(fed: dict[str, np.ndarray], index: int) -> MSAInputs:
        one = {name: torch.from_numpy(array[index : index + 1]) for name, array in fed.items()}
        return MSAInputs(
            msa_feat=one["msa_feat"],
            msa_mask=one["msa_mask"],
            extra_msa=one["extra_msa"].long(),
            extra_has_deletion=one["extra_has_deletion"],
            extra_deletion_value=one["extra_deletion_value"],
            extra_msa_mask=one["extra_msa_mask"],
        )


def padded(draw: MSADraw, config: FeatureConfig) -> MSADraw:
    """Return the draw padded to the most rows that the network reads, as the official program."""
    rows = {name: config.num_extra_msa for name in vars(draw) if name.startswith("extra")}
    arrays = {
        name: np.pad(
            array,
            [(0, rows.get(name, config.num_msa) - len(array)), *[(0, 0)] * (array.ndim - 1)],
        )
        for name, array in vars(draw).items()
    }
    arrays["msa_feat"][len(draw.msa_feat) :, :, 0] = 1
    return MSADraw(**arrays)


class Recorder:
    """Foldry's numbers under the names of the recorded ones, by forward hooks."""

    def __init__(self, model: AlphaFold) -> None:
        self.model = model
        self.numbers: dict[str, np.ndarray] = {}
        self.call = -1
        self.run = -1
        self.layer = 0
        self.embedded: list[torch.Tensor] = []

    def keep(self, name: str, tensor: torch.Tensor) -> None:
        self.numbers[name] = tensor.detach().float().numpy().copy()

    def attach(self) -> None:
        model = self.model
        model.input.register_forward_pre_hook(lambda *_: setattr(self, "call", self.call + 1))
        self.attach_stack("evoformer", model.evoformer)
        if model.config.extra is not None:
            self.attach_stack("extra_msa_stack", model.extra_stack)
        if model.config.template is not None:
            model.template.register_forward_pre_hook(self.on_template_start)
            model.template.register_forward_hook(self.on_template)
            model.template.norm.register_forward_hook(
                lambda _m, _i, out: self.embedded.append(out[0])
            )
            for block in model.template.blocks[:1]:
                scope = "template_pair_stack/__layer_stack_no_state"
                if model.config.of_complexes:
                    scope = "template_embedding_iteration"
                single = "evoformer/template_embedding/single_template_embedding"
                self.attach_pair_modules(f"{single}/{scope}", block)
        model.structure.register_forward_pre_hook(self.on_structure_start)
        model.structure.norm_transition.register_forward_hook(self.on_layer)
        model.structure.register_forward_hook(self.on_structure)
        model.register_forward_hook(
            lambda _m, _i, out: self.keep(f"r{self.run}/sm/final_atom_positions", out.atom37[0])
        )

    def attach_pair_modules(self, scope: str, block: nn.Module) -> None:
        for official in PAIR_MODULES:
            module = getattr(block, official.removesuffix("_node"))
            self.attach_residual(f"{scope}/{official}", module)

    def attach_residual(self, name: str, module: nn.Module) -> None:
        """Record a representation with a module's update, in the first call of each name."""

        def hook(_module: nn.Module, _inputs: tuple, output: torch.Tensor) -> None:
            key = f"c{self.call}/sub/{name}/b0"
            if key not in self.numbers:
                self.keep(key, output[0])

        module.register_forward_hook(hook)

    def attach_stack(self, scope: str, stack: nn.Module) -> None:
        blocks = "evoformer_iteration" if scope == "evoformer" else scope

        def start(_module: nn.Module, inputs: tuple) -> None:
            for index, stream in enumerate(("msa", "pair")):
                base = f"c{self.call}/blocks/{blocks}"
                self.keep(f"{base}/in/{stream}/b0", inputs[index][0])
                self.keep(f"{base}/in_mask/{stream}/b0", inputs[index + 2][0])

        stack.register_forward_pre_hook(start)
        for number, block in enumerate(stack.blocks):

            def done(_module: nn.Module, _inputs: tuple, output: tuple, k: int = number) -> None:
                for stream, value in zip(("msa", "pair"), output, strict=True):
                    self.keep(f"c{self.call}/blocks/{blocks}/out/{stream}/b{k}", value[0])

            block.register_forward_hook(done)
        first = stack.blocks[0]
        sub = f"evoformer/{blocks}"
        column = "msa_column_global_attention" if scope != "evoformer" else "msa_column_attention"
        self.attach_residual(f"{sub}/msa_row_attention_with_pair_bias", first.msa_row_attention)
        self.attach_residual(f"{sub}/{column}", first.msa_column_attention)
        self.attach_residual(f"{sub}/msa_transition", first.msa_transition)
        first.triangle_multiplication_outgoing.register_forward_pre_hook(
            lambda _m, inputs: self.keep(
                f"c{self.call}/sub/{sub}/outer_product_mean/b0", inputs[0][0]
            )
        )
        self.attach_pair_modules(sub, first)

    def on_template_start(self, _module: nn.Module, inputs: tuple) -> None:
        self.keep(f"c{self.call}/call/template_embedding/in_query", inputs[0][0])

    def on_template(self, _module: nn.Module, _inputs: tuple, output: torch.Tensor) -> None:
        base = f"c{self.call}/call"
        query = torch.from_numpy(self.numbers[f"{base}/template_embedding/in_query"])
        self.keep(f"{base}/template_embedding/out", output[0] - query)
        self.keep(f"{base}/single_template_embedding/out", torch.stack(self.embedded))
        self.embedded.clear()

    def on_structure_start(self, _module: nn.Module, _inputs: tuple) -> None:
        self.run += 1
        self.layer = 0

    def on_layer(self, _module: nn.Module, _inputs: tuple, output: torch.Tensor) -> None:
        self.keep(f"r{self.run}/sm/iter{self.layer}/act", output[0])
        self.layer += 1

    def on_structure(self, _module: nn.Module, _inputs: tuple, output: Any) -> None:
        base = f"r{self.run}/sm"
        frames, groups = output.frames, output.group_frames
        rotation, translation = frames.rotation[:, 0], frames.translation[:, 0]
        self.keep(f"{base}/affine/rotation", rotation)
        self.keep(f"{base}/affine/translation", translation)
        units = translation[..., None] / self.model.config.structure.position_scale
        self.keep(f"{base}/rigid", torch.cat([rotation, units], dim=-1))
        self.keep(f"{base}/angles_sin_cos", output.sin_cos[:, 0])
        self.keep(f"{base}/unnormalized_angles_sin_cos", output.unnormalized_sin_cos[:, 0])
        self.keep(f"{base}/atom14_pos", output.atom14[:, 0])
        matrices = torch.cat([groups.rotation, groups.translation[..., None]], dim=-1)
        self.keep(f"{base}/frames_3x4", matrices[:, 0])


def with_companion(batch: Any) -> Any:
    """Return inputs of one protein and, as a second member, half of it with padding."""
    members = {}
    for each in fields(batch):
        value = getattr(batch, each.name)
        if isinstance(value, torch.Tensor):
            padded = value.clone()
            if each.name.endswith("mask"):
                axis = (
                    str(each.type).split("'")[1].split().index("N")
                    if "N" in str(each.type).split("'")[1].split()
                    else 1
                )
                padded.narrow(axis, 0, value.shape[axis] // 2 + 1).zero_()
            value = torch.cat([value, padded])
        elif value is not None:
            value = with_companion(value)
        members[each.name] = value
    return type(batch)(**members)


def run(
    case: Case, torsions: dict[str, np.ndarray], *, batched: bool = False, **runtime: Any
) -> dict[str, np.ndarray]:
    """Return Foldry's intermediates, and its outputs after `outputs/`, under the recorded names.

    Args:
        case: The recorded run.
        torsions: As in `Case.inputs`.
        batched: Whether another, padded protein passes the network in the same batch.
        runtime: Attributes of the network's `Runtime`.
    """
    model = case.model(**runtime)
    recorder = Recorder(model)
    recorder.attach()
    represent = model.represent

    def recorded_represent(*arguments: Any) -> Any:
        result = represent(*arguments)
        for name in ("single", "pair", "msa", "msa_first_row"):
            recorder.keep(f"c{recorder.call}/call/evoformer_out/{name}", getattr(result, name)[0])
        return result

    model.represent = recorded_represent
    inputs, draw = case.inputs(torsions)
    if batched:
        alone = draw
        inputs = with_companion(inputs)
        draw = lambda cycle: [with_companion(each) for each in alone(cycle)]  # noqa: E731
    config = model.config
    with torch.no_grad():
        *_, ((result, num_recycles), _) = recycle(  # the last member to end
            model, inputs, draw, config.num_recycles, config.recycle_tolerance
        )
        logits = model.predict_heads(result)
    heads = config.heads
    outputs = {
        "distogram/logits": logits.distogram[0],
        "distogram/bin_edges": torch.linspace(
            heads.distogram_first_break, heads.distogram_last_break, heads.num_distogram_bins - 1
        ),
        "experimentally_resolved/logits": logits.resolved[0],
        "masked_msa/logits": logits.masked_msa[0],
        "predicted_lddt/logits": logits.plddt[0],
        "n_evoformer_calls": torch.tensor(recorder.call + 1),
        "num_recycles": torch.tensor(num_recycles),
        "representations/structure_module": result.structure.single[0],
        "structure_module/final_atom_positions": result.atom37[0],
        "structure_module/final_atom_mask": torch.from_numpy(ATOM37_MASK)[inputs.aatype[0]],
    }
    for name in ("single", "pair", "msa", "msa_first_row"):
        outputs[f"representations/{name}"] = getattr(result.representations, name)[0].float()
    sure = confidence(logits, inputs.asym_id[0].numpy(), config)
    metrics = {"plddt": sure.plddt, "ranking_confidence": sure.ranking_confidence}
    if logits.pae is not None:
        outputs["predicted_aligned_error/logits"] = logits.pae[0]
        outputs["predicted_aligned_error/asym_id"] = inputs.asym_id[0]
        outputs["predicted_aligned_error/breaks"] = torch.linspace(
            0, heads.max_pae_break, heads.num_pae_bins - 1
        )
        metrics |= {
            "predicted_aligned_error": sure.pae,
            "max_predicted_aligned_error": sure.max_pae,
            "ptm": sure.ptm,
            "iptm": sure.iptm or 0.0,
        }
    named = {f"outputs/{name}": value.numpy() for name, value in outputs.items()}
    named |= {f"outputs/metrics/{name}": np.asarray(value) for name, value in metrics.items()}
    if case.is_multimer:
        features = case.features()
        for call in range(recorder.call + 1):
            named |= drawn_features(case, features, call)
    return recorder.numbers | named


def drawn_features(case: Case, features: Features, call: int) -> dict[str, np.ndarray]:
    """Return the alignment's features in one call of the Evoformer, under the recorded names."""
    fed = arrays(case.folder / "inputs.npz")
    recorded = arrays(case.folder / "intermediates.npz")
    base = f"c{call}/msa"
    order, num_msa = recorded[f"{base}/index_order"], features.config.num_msa
    draw = case.multimer_draw(features, call)
    deletions = np.stack([draw.extra_has_deletion, draw.extra_deletion_value], axis=-1)
    extra = np.concatenate([np.eye(23)[draw.extra_msa], deletions], axis=-1)
    count = fed["msa_mask"].sum(0)[:, None]
    profile = (np.eye(22)[fed["msa"]] * fed["msa_mask"][..., None]).sum(0) / count
    ours = {
        "true_msa": fed["msa"][order[:num_msa]],
        "msa_mask": draw.msa_mask,
        "deletion_matrix": fed["deletion_matrix"][order[:num_msa]],
        "extra_msa": fed["msa"][order[num_msa:]],
        "extra_msa_mask": fed["msa_mask"][order[num_msa:]],
        "extra_deletion_matrix": fed["deletion_matrix"][order[num_msa:]],
        "msa_profile": profile,
        "msa_feat": draw.msa_feat,
        "cluster_profile": draw.msa_feat[..., 25:48],
        "cluster_deletion_mean": 3 * np.tan(draw.msa_feat[..., 48] * np.pi / 2),
        "extra_msa_feat": extra,
        "extra_msa_feat_mask": draw.extra_msa_mask,
    }
    drawn = {f"{base}/{name}": recorded[f"{base}/{name}"] for name in FED}
    return drawn | {f"{base}/{name}": value for name, value in ours.items()}


def limit(name: str, dtype: torch.dtype) -> float:
    """Return the relative tolerance of a recorded array."""
    if dtype == torch.bfloat16:
        return 8e-2 if "/metrics/" in name else 5e-2
    cycle = re.match(r"[cr](\d+)/", name)
    if cycle and cycle[1] != "0":
        return 1e-4
    if "/sub/" in name:
        return 1e-5
    return 5e-5 if cycle else 1e-4


def relative_error(ours: np.ndarray, theirs: np.ndarray) -> float:
    """Return the smallest r for which ‖ours − theirs‖ ≤ r ‖theirs‖ + 1e-6."""
    difference = np.linalg.norm((ours - theirs).astype(np.float64))
    norm = np.linalg.norm(theirs.astype(np.float64))
    return float(max(difference - 1e-6, 0) / max(norm, 1e-30))
