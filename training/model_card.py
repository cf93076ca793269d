"""MODEL_CARD.md of an exported model: what is known of it, and the tables; what only people know is left to them.

Headings follow what reports on AI in radiotherapy ask of a model card.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from imaging.manifest import ModelManifest
from training.checkpoint import Stage, TrainedNetwork
from training.evaluation.report import card_table
from training.evaluation.scores import CaseScore
from training.export import Release
from training.networks import parameter_count


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
        "## Identity",
        "| | |",
        "|---|---|",
        f"| name, version | {manifest.identity}; hashes, commit, cohort hash and recipe in manifest.json |",
        f"| network | {trained.recipe.network.family}, {parameter_count(trained.network):,} parameters |",
        f"| recipe | {manifest.recipe} |",
        f"| input | daily CT, planning CT after the affine, planned organs; {manifest.spacing_mm:g} mm grid; "
        f"[{window.lower:g}, {window.upper:g}] HU divided by {window.divisor:g} |",
        "| output | class probabilities; displacement in millimetres (x, y, z), daily to planning; "
        f"{manifest.margin_voxels} voxels smaller per side |",
        "| approval | none; research |",
        "",
        "## Intended use",
        manifest.intended_use,
        "",
        "## Not intended",
        release.not_intended,
        "",
        "## Data",
        release.data,
        "",
        "## Training",
        f"{trained.step:,} steps of {trained.recipe.sampling.patches} patches of "
        f"{trained.recipe.sampling.patch_size}^3 voxels, {trained.seconds / 60:.0f} minutes in training steps. Stages:",
        "",
        "| from step | pairs | cohort | commit |",
        "|---|---|---|---|",
        *(_stage_row(stage) for stage in trained.stages),
        "",
        "## Evaluation",
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
    parts += [f"Recommended path per organ, {why}: {chosen}.", "", "## Known failures and limits"]
    parts += [*(f"- {limit}" for limit in release.limits), ""]
    return "\n".join(parts)


def _stage_row(stage: Stage) -> str:
    return f"| {stage.first_step} | {stage.pairs} | {stage.cohort_hash[:12]} | {stage.commit[:12]} |"
