"""MODEL_CARD.md of an exported model: what is known of it, and the tables; what only people know is left to them.

The sections are those of AID-RT, the model card of the ESTRO Physics Workshop 2023 (Barragán-Montero et al., Physics
and Imaging in Radiation Oncology 2026, 10.1016/j.phro.2026.100940).
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from imaging.manifest import ModelManifest
from training.checkpoint import Stage, TrainedNetwork
from training.evaluation.report import card_table
from training.evaluation.scores import CaseScore
from training.export import Release
from training.networks import parameter_count

SECTIONS = (
    "0. Card metadata",
    "1. Model basic information",
    "2. Model technical specifications",
    "3. Training data, methodology, and information",
    "4. Evaluation data, methodology, and results",
    "5. Other considerations",
)


def write_card(
    folder: Path,
    manifest: ModelManifest,
    trained: TrainedNetwork,
    release: Release,
    sections: Mapping[str, Sequence[CaseScore]],
    *,
    system: str,
    remarks: Sequence[str] = (),
) -> None:
    """Write the card into a model's folder.

    Args:
        folder: models/NAME/VERSION.
        manifest: With the recommended paths.
        trained: The network that was exported.
        release: What people know: intended use, data, limits.
        sections: Split -> scores of the exported model and its references.
        system: The name under which the model was scored.
        remarks: What readers of the tables must know.
    """
    text = card(manifest, trained, release, sections, system=system, remarks=remarks)
    (folder / "MODEL_CARD.md").write_text(text)


def card(
    manifest: ModelManifest,
    trained: TrainedNetwork,
    release: Release,
    sections: Mapping[str, Sequence[CaseScore]],
    *,
    system: str,
    remarks: Sequence[str] = (),
) -> str:
    """The text of the card; arguments as in `write_card`."""
    organs = ", ".join(organ.name for organ in manifest.organs)
    window = manifest.hu_window
    parts = [
        f"# {manifest.identity}",
        "",
        f"{organs} on a daily CT, and the deformation from the daily to the planning CT.",
        "**Research only. Nothing was validated on patients by the project.**",
        "",
        f"## {SECTIONS[0]}",
        "| | |",
        "|---|---|",
        "| written by | `training export`; what only people know comes from the release file |",
        f"| about | {manifest.identity}; hashes, commit, cohort hash and recipe in manifest.json |",
        "| approval | none; research |",
        "",
        f"## {SECTIONS[1]}",
        "### Intended use",
        manifest.intended_use,
        "",
        "### Not intended",
        release.not_intended,
        "",
        f"## {SECTIONS[2]}",
        "| | |",
        "|---|---|",
        f"| network | {trained.recipe.network.family}, {parameter_count(trained.network):,} parameters |",
        f"| recipe | {manifest.recipe} |",
        f"| input | daily CT, planning CT after the affine, planned organs; {manifest.spacing_mm:g} mm grid; "
        f"[{window.lower:g}, {window.upper:g}] HU divided by {window.divisor:g} |",
        "| output | class probabilities; displacement in millimetres (x, y, z), daily to planning; "
        f"{manifest.margin_voxels} voxels smaller per side |",
        "| hardware | a CPU, or a GPU with CUDA 13; docs/deploy.md |",
        "",
        f"## {SECTIONS[3]}",
        "### Data",
        release.data,
        "",
        "### Training",
        f"{trained.step:,} steps of {trained.recipe.sampling.patches} patches of "
        f"{trained.recipe.sampling.patch_size}^3 voxels, {trained.seconds / 60:.0f} minutes in training steps. Stages:",
        "",
        "| from step | pairs | cohort | commit |",
        "|---|---|---|---|",
        *(_stage_row(stage) for stage in trained.stages),
        "",
        f"## {SECTIONS[4]}",
        "The exported file, through the service's own preprocessing, propagation and contour extraction, on the daily",
        "CT's native voxels. MSD: mean surface distance, both directions pooled; SD over cases. 'network': the affine",
        "with the network's field as it is, 'propagated' what the service delivers: that field where it helps, and the",
        "refinement; 'segmented' the other path. Every case is in evaluation.json.",
        *remarks,
        "",
    ]
    for split, scores in sections.items():
        cases = len({score.case for score in scores})
        parts += [f"### {split.capitalize()}, {cases} cases", card_table(scores, system=system), ""]
    chosen = ", ".join(f"{organ.name} {organ.recommended}" for organ in manifest.organs)
    why = "chosen on the validation cases alone" if "validation" in sections else "as the release file says"
    parts += [f"Recommended path per organ, {why}: {chosen}.", ""]
    parts += [f"## {SECTIONS[5]}", "### Known failures and limits", *(f"- {limit}" for limit in release.limits), ""]
    parts += [
        "### Risks and monitoring",
        "docs/hazards.md; every ROI of every answer is held against the plausibility limits.",
        "",
    ]
    return "\n".join(parts)


def _stage_row(stage: Stage) -> str:
    return f"| {stage.first_step} | {stage.pairs} | {stage.cohort_hash[:12]} | {stage.commit[:12]} |"
