"""What a report is about: pairs of crops, what they are called, where they come from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from napari_neurobridge.errors import ErrorKind, InputError
from napari_neurobridge.insight.evaluation import FEWEST_TO_EVALUATE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_neurobridge.io.pairs import PairSet
    from napari_neurobridge.project.folder import Project
    from napari_neurobridge.types import Vec3


@dataclass(frozen=True, eq=False)
class ReportSubject:
    """Pairs to report on.

    Attributes
    ----------
    title : str
        Of the report.
    pairs : PairSet
        Crops of N pairs.
    names : tuple of (str, str)
        What the two cells of each pair are called.
    facts : tuple of (str, str)
        Names and values about all of the data.
    datasets : tuple of tuple of str
        A table of the datasets, its first row the header; empty for none.
    caveats : tuple of str
        What limits the figures because of where the pairs come from.
    """

    title: str
    pairs: PairSet
    names: tuple[tuple[str, str], ...]
    facts: tuple[tuple[str, str], ...] = ()
    datasets: tuple[tuple[str, ...], ...] = ()
    caveats: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if len(self.names) != len(self.pairs):
            raise InputError(
                f"There are {len(self.pairs)} pairs, but names of {len(self.names)}; the project "
                "may have changed meanwhile, so export again."
            )
        if len(self.pairs) < FEWEST_TO_EVALUATE:
            raise InputError(
                f"A report needs at least {FEWEST_TO_EVALUATE} accepted pairs, not "
                f"{len(self.pairs)}.",
                kind=ErrorKind.TOO_FEW_PAIRS,
            )


def project_subject(project: Project, pairs: PairSet) -> ReportSubject:
    """Describe a project and its accepted pairs.

    Parameters
    ----------
    project : Project
        Its path is left out of the report, but for the name.
    pairs : PairSet
        Crops of its undisputed pairs, in the order of the two-photon uids.

    Raises
    ------
    InputError
        If there are fewer than two pairs, or an image is missing.
    """
    state = project.state()
    names = tuple(sorted(state.pairs_between(project.in_vivo(), project.ex_vivo()).items()))
    return ReportSubject(
        title=f"NeuroBridge report on {project.path.stem}",
        pairs=pairs,
        names=names,
        facts=(
            ("project", project.path.name),
            ("accepted pairs", f"{len(names)} undisputed, {len(state.disputed)} disputed"),
            ("two-photon cells asked about", str(len(state.asked))),
            ("found without partner", str(len(state.none))),
        ),
        datasets=tuple(_dataset_rows(project)),
        caveats=(
            "The pairs are those that people accepted, with the model's ranking before their "
            "eyes or not. Cells that the model ranks badly are accepted less often, so that "
            "these figures flatter it.",
        ),
    )


def file_subject(name: str, pairs: PairSet) -> ReportSubject:
    """Describe a file of pairs.

    Raises
    ------
    InputError
        If there are fewer than two pairs.
    """
    scenes = len(set(pairs.scene.tolist()))
    return ReportSubject(
        title=f"NeuroBridge report on {name}",
        pairs=pairs,
        names=tuple((f"pair {row}", f"scene {scene}") for row, scene in enumerate(pairs.scene)),
        facts=(("file", name), ("pairs", str(len(pairs))), ("scenes", str(scenes))),
    )


def _dataset_rows(project: Project) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = [
        ("dataset", "microscope", "voxels z, y, x", "voxel µm", "size µm", "lies as", "somata")
    ]
    state = project.state()
    for name, spec in project.datasets.items():
        shape, voxel, extent = "points only", "", ""
        if spec.uri is not None:
            volume = project.volume(name)
            shape = " × ".join(str(side) for side in volume.shape)
            voxel, extent = _sizes(volume.voxel_size_um), _sizes(volume.extent_um)
        turn = spec.orientation
        lies = "reference" if name == project.in_vivo() else "not stated"
        if turn is not None:
            lies = f"{turn.axes}, {turn.angle_deg:g}°, × {turn.expansion:g}"
        somata = str(len(state.somata.get(name, {})))
        rows.append((name, spec.role.value.replace("_", " "), shape, voxel, extent, lies, somata))
    return rows


def _sizes(values: Vec3 | Sequence[float]) -> str:
    return " × ".join(f"{value:.4g}" for value in values)
