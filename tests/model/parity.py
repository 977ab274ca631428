"""The recorded official cases: reading them, running them, recording our own numbers."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from foldry.features.features import FeatureConfig
from foldry.features.known_atoms import torsion_angles
from foldry.model.alphafold import AlphaFold
from foldry.model.config import from_official
from foldry.model.heads import (
    pae_bin_centers,
    plddt,
    predicted_aligned_error,
    predicted_tm_score,
)
from foldry.model.inputs import Inputs, MSAInputs, TemplateInputs
from foldry.model.weights import from_official as parameters_from_official
from foldry.predict.recycle import recycle
from foldry.residues import ATOM37_MASK

PAIR_MODULES = (
    "triangle_multiplication_outgoing",
    "triangle_multiplication_incoming",
    "triangle_attention_starting_node",
    "triangle_attention_ending_node",
    "pair_transition",
)


def cases(root: Path) -> list[Path]:
    """Folders of the layout of `model/`, in `root/model` or in `root` itself."""
    model = root / "model" if (root / "model").is_dir() else root
    return sorted(path.parent for path in model.glob("*/config.json"))


def arrays(path: Path) -> dict[str, np.ndarray]:
    """All arrays of a file; none where there is no such file."""
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
    def num_recycles(self) -> int:
        return int(self.config["num_recycle"])

    @property
    def needed(self) -> tuple[Path, Path]:
        """The files without which the case cannot be run."""
        return self.folder / self.config["params"], self.folder / "inputs.npz"

    def override(self, name: str, default: Any) -> Any:
        return self.config["overrides"].get(name, default)

    @property
    def num_ensemble(self) -> int:
        return int(self.override("data.eval.num_ensemble", 1))

    def model(self) -> AlphaFold:
        features = FeatureConfig(num_msa=0, num_extra_msa=0, num_templates=0)
        config = from_official(self.config["model"], self.config["model_config"], features)
        params = arrays(self.folder / self.config["params"])
        model = AlphaFold(config)
        model.load_state_dict(parameters_from_official(params, config))
        return model.eval()

    def inputs(self, torsions: dict[str, np.ndarray]) -> tuple[Inputs, Callable[[int], list]]:
        """The network's inputs, and the draws of each pass.

        Args:
            torsions: Template torsions to feed in place of ours (the recorded ones hold rounding
                noise where an angle is undefined); empty for none.
        """
        fed = arrays(self.folder / "inputs.npz")
        first = {name: torch.from_numpy(array[:1]) for name, array in fed.items()}
        ones = torch.ones_like(first["aatype"])
        templates = None
        if "template_aatype" in fed:
            templates = self.templates({k: v[0] for k, v in fed.items()}, torsions)
        inputs = Inputs(
            aatype=first["aatype"].long(),
            target_feat=first["target_feat"],
            residue_index=first["residue_index"].long(),
            asym_id=ones,
            entity_id=ones,
            sym_id=ones,
            seq_mask=first["seq_mask"],
            templates=templates,
        )
        num_draws = len(fed["msa_feat"])

        def draw(cycle: int) -> list[MSAInputs]:
            chosen = [
                (cycle * self.num_ensemble + member) % num_draws
                for member in range(self.num_ensemble)
            ]
            return [self.draw(fed, index) for index in chosen]

        return inputs, draw

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

    @staticmethod
    def templates(fed: dict[str, np.ndarray], torsions: dict[str, np.ndarray]) -> TemplateInputs:
        if not torsions:
            made = torsion_angles(
                fed["template_aatype"],
                fed["template_all_atom_positions"],
                fed["template_all_atom_masks"],
            )
            torsions = {
                "torsion_angles_sin_cos": made.sin_cos,
                "alt_torsion_angles_sin_cos": made.alt_sin_cos,
                "torsion_angles_mask": made.mask,
            }

        def tensor(array: np.ndarray) -> torch.Tensor:
            return torch.from_numpy(np.asarray(array, np.float32))[None]

        return TemplateInputs(
            aatype=tensor(fed["template_aatype"]).long(),
            atom_positions=tensor(fed["template_all_atom_positions"]),
            atom_mask=tensor(fed["template_all_atom_masks"]),
            mask=tensor(fed["template_mask"]),
            pseudo_beta=tensor(fed["template_pseudo_beta"]),
            pseudo_beta_mask=tensor(fed["template_pseudo_beta_mask"]),
            torsion_sin_cos=tensor(torsions["torsion_angles_sin_cos"]),
            torsion_alt_sin_cos=tensor(torsions["alt_torsion_angles_sin_cos"]),
            torsion_mask=tensor(torsions["torsion_angles_mask"]),
        )


class Recorder:
    """Our numbers under the names of the recorded ones, by forward hooks."""

    def __init__(self, model: AlphaFold) -> None:
        self.model = model
        self.numbers: dict[str, np.ndarray] = {}
        self.call = -1
        self.run = -1
        self.layer = 0
        self.embedded: list[torch.Tensor] = []

    def keep(self, name: str, tensor: torch.Tensor) -> None:
        self.numbers[name] = tensor.detach().numpy().copy()

    def attach(self) -> None:
        model = self.model
        model.input.register_forward_pre_hook(lambda *_: setattr(self, "call", self.call + 1))
        self.attach_stack("evoformer", model.evoformer)
        if model.config.extra is not None:
            self.attach_stack("extra_msa_stack", model.extra_stack)
        if model.config.template is not None:
            model.template.register_forward_hook(self.on_template)
            model.template.norm.register_forward_hook(
                lambda _m, _i, out: self.embedded.append(out[0])
            )
            for block in model.template.blocks[:1]:
                scope = (
                    "evoformer/template_embedding/single_template_embedding/template_pair_stack/"
                    "__layer_stack_no_state"
                )
                self.attach_pair_modules(scope, block)
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
        """The stream after a module: what it read plus what it gave (first call of each name)."""

        def hook(_module: nn.Module, inputs: tuple, output: torch.Tensor) -> None:
            key = f"c{self.call}/sub/{name}/b0"
            if key not in self.numbers:
                self.keep(key, (inputs[0] + output)[0])

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

    def on_template(self, _module: nn.Module, inputs: tuple, output: torch.Tensor) -> None:
        base = f"c{self.call}/call"
        self.keep(f"{base}/template_embedding/in_query", inputs[0][0])
        self.keep(f"{base}/template_embedding/out", output[0])
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
        self.keep(f"{base}/affine/rotation", frames.rotation[:, 0])
        self.keep(f"{base}/affine/translation", frames.translation[:, 0])
        self.keep(f"{base}/angles_sin_cos", output.sin_cos[:, 0])
        self.keep(f"{base}/unnormalized_angles_sin_cos", output.unnormalized_sin_cos[:, 0])
        self.keep(f"{base}/atom14_pos", output.atom14[:, 0])
        matrices = torch.cat([groups.rotation, groups.translation[..., None]], dim=-1)
        self.keep(f"{base}/frames_3x4", matrices[:, 0])


def run(case: Case, torsions: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Our intermediates, and our outputs after `outputs/`, under the recorded names."""
    model = case.model()
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
    with torch.no_grad():
        result, _ = recycle(model, inputs, draw, case.num_recycles)
        logits = model.predict_heads(result)
    heads = model.config.heads
    outputs = {
        "distogram/logits": logits.distogram[0],
        "distogram/bin_edges": torch.linspace(
            heads.distogram_first_break, heads.distogram_last_break, heads.num_distogram_bins - 1
        ),
        "experimentally_resolved/logits": logits.resolved[0],
        "masked_msa/logits": logits.masked_msa[0],
        "predicted_lddt/logits": logits.plddt[0],
        "n_evoformer_calls": torch.tensor(recorder.call + 1),
        "representations/structure_module": result.structure.single[0],
        "structure_module/final_atom_positions": result.atom37[0],
        "structure_module/final_atom_mask": torch.from_numpy(ATOM37_MASK)[inputs.aatype[0]],
        "metrics/plddt": plddt(logits.plddt[0]),
    }
    outputs["metrics/ranking_confidence"] = outputs["metrics/plddt"].mean()
    for name in ("single", "pair", "msa", "msa_first_row"):
        outputs[f"representations/{name}"] = getattr(result.representations, name)[0]
    if logits.pae is not None:
        outputs["predicted_aligned_error/logits"] = logits.pae[0]
        outputs["predicted_aligned_error/breaks"] = torch.linspace(
            0, heads.max_pae_break, heads.num_pae_bins - 1
        )
        outputs["metrics/predicted_aligned_error"] = predicted_aligned_error(
            logits.pae[0], heads.max_pae_break
        )
        outputs["metrics/max_predicted_aligned_error"] = pae_bin_centers(
            heads.num_pae_bins, heads.max_pae_break
        )[-1]
        outputs["metrics/ptm"] = predicted_tm_score(logits.pae[0], heads.max_pae_break)
    named = {f"outputs/{name}": value.numpy() for name, value in outputs.items()}
    return recorder.numbers | named


def limit(name: str) -> float:
    """The stated relative tolerance of a recorded array, by what it is."""
    cycle = re.match(r"[cr](\d+)/", name)
    if cycle and cycle[1] != "0":
        return 1e-4
    if "/sub/" in name:
        return 1e-5
    return 5e-5 if cycle else 1e-4


def relative_error(ours: np.ndarray, theirs: np.ndarray) -> float:
    """How much of the allowance of ‖ours − theirs‖ ≤ r‖theirs‖ + 1e-6 is r."""
    difference = np.linalg.norm((ours - theirs).astype(np.float64))
    norm = np.linalg.norm(theirs.astype(np.float64))
    return float(max(difference - 1e-6, 0) / max(norm, 1e-30))
