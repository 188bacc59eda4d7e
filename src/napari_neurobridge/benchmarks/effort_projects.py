"""Projects whose every pair is known, for a simulated annotator to work on."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import pandas as pd

from napari_neurobridge.benchmarks.matching_scenes import FIELD_UM, detected_pairs, paper_level
from napari_neurobridge.matching.appearance.gallery import index_project
from napari_neurobridge.matching.sides import Side
from napari_neurobridge.project.folder import Project
from napari_neurobridge.project.log.annotate import add_somata
from napari_neurobridge.project.manifest import dataset_spec
from napari_neurobridge.simulation.scene_files import simulate_scene
from napari_neurobridge.types import Role, SomaSource
from napari_neurobridge.workflows.detect import detect_dataset
from napari_neurobridge.workflows.setup import DatasetSource, create_project

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import numpy as np

    from napari_neurobridge.benchmarks.points import PointPairs
    from napari_neurobridge.encoder.embed import Encoder
    from napari_neurobridge.types import Report

IN_VIVO, EX_VIVO = "two_photon", "fmost"
_PROJECT = "project.neurobridge"


@dataclass(frozen=True, eq=False)
class KnownProject:
    """A project, and the truth about it.

    Attributes
    ----------
    project : Project
        Without any verdict.
    partner : mapping of str to str
        Ex-vivo uid of each in-vivo soma that has one.
    """

    project: Project
    partner: Mapping[str, str]


class EffortField(Protocol):
    """What annotators are given: each works on a project of its own."""

    def begin(self, folder: Path, rng: np.random.Generator) -> KnownProject:
        """Return a project without any verdict, made in an empty folder."""
        ...


@dataclass(frozen=True, eq=False)
class TableField:
    """Two tables of points.

    Attributes
    ----------
    pairs : PointPairs
        The queries are taken for the in-vivo side, which is asked about.
    """

    pairs: PointPairs

    def begin(self, folder: Path, rng: np.random.Generator) -> KnownProject:
        """Import both tables, the queries numbered in another order for each annotator.

        Points have no confidence, so that the queue breaks ties, and draws its audits, by
        the uids: with the tables' own ones each annotator would get the same questions.
        """
        project = Project.create(
            folder / _PROJECT,
            [
                dataset_spec(name=IN_VIVO, role=Role.IN_VIVO),
                dataset_spec(name=EX_VIVO, role=Role.EX_VIVO),
            ],
        )
        order = rng.permutation(len(self.pairs.queries_um))
        queries, gallery = (
            add_somata(project, name, points_um, source=SomaSource.IMPORTED)
            for name, points_um in (
                (IN_VIVO, self.pairs.queries_um[order]),
                (EX_VIVO, self.pairs.gallery_um),
            )
        )
        known = zip(queries, self.pairs.partner[order].tolist(), strict=True)
        return KnownProject(
            project, {soma.uid: gallery[row].uid for soma, row in known if row >= 0}
        )


@dataclass(frozen=True, eq=False)
class ProjectField:
    """A project on disk, of which every annotator gets a copy.

    Attributes
    ----------
    known : KnownProject
    """

    known: KnownProject

    def begin(self, folder: Path, rng: np.random.Generator) -> KnownProject:
        """Copy the project; its images stay where they are."""
        project = self.known.project
        images = {name: project.image_path(name) for name in project.datasets_with_images}
        shutil.copytree(project.path, folder / _PROJECT)
        copy = Project.open(folder / _PROJECT)
        for name, image in images.items():
            copy.update_dataset(name, uri=str(image.resolve()))
        return KnownProject(copy, self.known.partner)


def scene_field(
    seed: int, folder: Path, encoder: Encoder | None = None, *, report: Report | None = None
) -> ProjectField:
    """Simulate a scene, with 30 % missing on either side, and take it in as a user would.

    Parameters
    ----------
    seed : int
        Of the scene.
    folder : Path
        For scene and project, which a later call finds there.
    encoder : Encoder, optional
        Whose index is built; without one, coordinates are all there is.
    report : callable, optional
        Called as ``report(done, total, message)``.
    """
    difficulty = paper_level()
    here = folder / f"effort-{difficulty.digest()}-{seed:06d}"
    if (here / _PROJECT).exists():
        project = Project.open(here / _PROJECT)
    else:
        scene = simulate_scene(here, seed=seed, size_um=FIELD_UM, level=difficulty, report=report)
        project = create_project(
            here / _PROJECT,
            [
                DatasetSource(IN_VIVO, Role.IN_VIVO, image=scene.two_photon),
                DatasetSource(
                    EX_VIVO, Role.EX_VIVO, image=scene.fmost, orientation=scene.orientation
                ),
            ],
        )
    sides = []
    for name in (IN_VIVO, EX_VIVO):
        if not project.state().somata.get(name):
            detect_dataset(project, name, report=report)
        sides.append(Side.of(name, project.state().somata[name]))
    if encoder is not None:
        index_project(project, encoder, report=report)
    first, second = sides
    truth = pd.read_csv(here / "truth.csv")
    found = detected_pairs(first.centers_um, second.centers_um, truth)
    partner = {
        uid: second.uids[row]
        for uid, row in zip(first.uids, found.partner.tolist(), strict=True)
        if row >= 0
    }
    return ProjectField(KnownProject(project, partner))
