"""``simulate`` and ``simulate-pairs``: images whose truth is known."""

from pathlib import Path
from typing import Annotated

import typer

from napari_neurobridge.cli._output import CommandResult, command
from napari_neurobridge.errors import InputError
from napari_neurobridge.types import Report, Vec3

LevelOption = Annotated[str, typer.Option("--level", help="Difficulty: easy, paper or hard.")]
SeedOption = Annotated[int, typer.Option("--seed", help="Same seed, same images.")]


class SimulatedScene(CommandResult):
    """A scene imaged twice, and where it was written."""

    n_neurons: int
    n_pairs: int
    two_photon: str
    fmost: str
    truth: str
    orientation: str


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
    report: Report,
) -> SimulatedScene:
    """Simulate tissue as both microscopes see it."""
    from napari_neurobridge.simulation.scene import simulate_scene

    scene = simulate_scene(out, seed=seed, size_um=size_um, level=level, report=report)
    return SimulatedScene(
        n_neurons=scene.n_neurons,
        n_pairs=scene.n_pairs,
        two_photon=str(scene.two_photon),
        fmost=str(scene.fmost),
        truth=str(scene.truth),
        orientation=str(scene.orientation_path),
    )


def simulate_pairs(
    out: Annotated[Path, typer.Argument(metavar="OUT.npz", help="File to write.")],
    *,
    n: Annotated[int, typer.Option("--n", help="How many pairs.")],
    seed: SeedOption,
    level: LevelOption = "paper",
    report: Report,
) -> SimulatedPairs:
    """Simulate pairs of crops, for evaluate --pairs."""
    from napari_neurobridge.simulation.pairs import simulate_pairs as make_pairs

    if out.suffix != ".npz":
        raise InputError(
            f"Pairs are written as .npz; name the file {out.with_suffix('.npz').name}."
        )
    if n < 1:
        raise InputError(f"--n must be at least 1, not {n}.")
    pairs = make_pairs(n, seed=seed, level=level, report=report)
    pairs.save(out)
    return SimulatedPairs(n_pairs=n, n_scenes=len(set(pairs.scene.tolist())), path=str(out))
