"""``simulate`` and ``simulate-pairs``: images whose truth is known."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from napari_neurobridge.cli._options import LevelOption
from napari_neurobridge.cli._output import CommandResult, command
from napari_neurobridge.errors import InputError
from napari_neurobridge.types import Report, Vec3

if TYPE_CHECKING:
    from napari_neurobridge.io.morphology import Reconstruction
    from napari_neurobridge.simulation.levels import Difficulty

SeedOption = Annotated[int, typer.Option("--seed", help="Same seed, same images.")]
LabelsOption = Annotated[
    str | None,
    typer.Option(
        "--labels",
        metavar="TWO_PHOTON-FMOST",
        help="How many cells each side labels: sparse-sparse, dense-sparse or dense-dense; "
        "as the level says unless given.",
    ),
]
MorphologiesOption = Annotated[
    Path | None,
    typer.Option(
        "--morphologies",
        metavar="DIR",
        help="Folder of SWC files to fill the tissue with; neurons grown by rules unless given.",
    ),
]
UnitOption = Annotated[
    float, typer.Option("--um-per-unit", help="Size of the SWC files' unit of length, µm.")
]


class SimulatedScene(CommandResult):
    """A scene imaged twice, and where it was written."""

    n_neurons: int
    n_pairs: int
    two_photon: str
    fmost: str
    truth: str
    orientation: str
    vessels: str
    recording: str | None
    level_digest: str


class SimulatedPairs(CommandResult):
    """Pairs of crops, and where they were written."""

    n_pairs: int
    n_scenes: int
    path: str


def register(app: typer.Typer) -> None:
    """Add this group's commands."""
    command(app, "simulate")(simulate)
    command(app, "simulate-pairs")(simulate_pairs)


def simulate(
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Folder to write to.")],
    *,
    seed: SeedOption,
    size_um: Annotated[
        Vec3, typer.Option("--size-um", metavar="Z Y X", help="Size of the tissue block, µm.")
    ] = (200.0, 400.0, 400.0),
    level: LevelOption = "paper",
    labels: LabelsOption = None,
    morphologies: MorphologiesOption = None,
    um_per_unit: UnitOption = 1.0,
    frames: Annotated[
        int,
        typer.Option(
            "--frames",
            metavar="N",
            help="Frames to record of the middle plane, 15 a second; 0 for no recording.",
        ),
    ] = 0,
    report: Report,
) -> SimulatedScene:
    """Simulate tissue as both microscopes see it."""
    from napari_neurobridge.simulation.scene_files import simulate_scene

    difficulty = _difficulty(level, labels)
    scene = simulate_scene(
        out,
        seed=seed,
        size_um=size_um,
        level=difficulty,
        morphologies=_read_morphologies(morphologies, um_per_unit),
        n_frames=frames,
        report=report,
    )
    return SimulatedScene(
        n_neurons=scene.n_neurons,
        n_pairs=scene.n_pairs,
        two_photon=str(scene.two_photon),
        fmost=str(scene.fmost),
        truth=str(scene.truth),
        orientation=str(scene.orientation_path),
        vessels=str(scene.vessels),
        recording=None if scene.recording is None else str(scene.recording),
        level_digest=difficulty.digest(),
    )


def simulate_pairs(
    out: Annotated[Path, typer.Argument(metavar="OUT.npz", help="File to write.")],
    *,
    n: Annotated[int, typer.Option("--n", help="How many pairs.")],
    seed: SeedOption,
    level: LevelOption = "paper",
    labels: LabelsOption = None,
    morphologies: MorphologiesOption = None,
    um_per_unit: UnitOption = 1.0,
    cells_per_scene: Annotated[
        int,
        typer.Option("--cells-per-scene", help="Pairs from one block of tissue, at most."),
    ] = 64,
    report: Report,
) -> SimulatedPairs:
    """Simulate pairs of crops, for evaluate --pairs."""
    from napari_neurobridge.simulation.pairs import simulate_pairs as make_pairs

    if out.suffix != ".npz":
        raise InputError(f"Pairs are written as .npz; name the file {out.stem or 'pairs'}.npz.")
    for option, number in (("--n", n), ("--cells-per-scene", cells_per_scene)):
        if number < 1:
            raise InputError(f"{option} must be at least 1, not {number}.")
    pairs = make_pairs(
        n,
        seed=seed,
        level=_difficulty(level, labels),
        morphologies=_read_morphologies(morphologies, um_per_unit),
        cells_per_scene=cells_per_scene,
        report=report,
    )
    pairs.save(out)
    return SimulatedPairs(n_pairs=n, n_scenes=len(set(pairs.scene.tolist())), path=str(out))


def _difficulty(level: str, labels: str | None) -> "Difficulty":
    """Return a level's parameters, in a label regime where one is named."""
    from napari_neurobridge.simulation.levels import level as named_level

    difficulty = named_level(level)
    return difficulty if labels is None else difficulty.with_labels(labels)


def _read_morphologies(folder: Path | None, um_per_unit: float) -> "list[Reconstruction]":
    from napari_neurobridge.io.morphology import read_swc_folder

    return [] if folder is None else read_swc_folder(folder, um_per_unit=um_per_unit)
