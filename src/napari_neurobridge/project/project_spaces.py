"""The spaces of a project: laid on each other by orientations, registrations, accepted pairs."""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from napari_neurobridge.errors import InputError
from napari_neurobridge.project.alignment_file import read_alignment, write_alignment
from napari_neurobridge.project.landmarks import ProjectLandmarks
from napari_neurobridge.spaces import SpaceGraph
from napari_neurobridge.spaces.alignment import MadeFrom
from napari_neurobridge.spaces.gaussian_process import DeformationPrior
from napari_neurobridge.spaces.graph import SpacePath
from napari_neurobridge.types import Role

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt

    from napari_neurobridge.project.folder import Project
    from napari_neurobridge.project.log.registrations import AppliedRegistration
    from napari_neurobridge.spaces import Affine
    from napari_neurobridge.spaces.alignment import Alignment, InverseAlignment
    from napari_neurobridge.types import Vec3

logger = logging.getLogger(__name__)

ENOUGH_LANDMARKS = 4
"""Fewer leave a turn open, which then comes from the orientation, stated or not."""

# What is accepted lies at most 8 µm off what was held out, in the median; an affine map leaves
# all bending, which is what the other sizes are about.
_LEFT_BY_REGISTRATION = DeformationPrior(shift_um=10.0, strain=0.03)


@dataclass(frozen=True)
class _Basis:
    """What the alignment of two datasets is made from, apart from uncertain matches."""

    landmarks: ProjectLandmarks
    linear: npt.NDArray[np.float64] | None
    stated: bool
    registration: AppliedRegistration | None

    @property
    def key(self) -> str:
        """Changes with any landmark, with the orientation and the registration."""
        linear = "" if self.linear is None else repr(self.linear.round(9).tolist())
        about = f"{self.landmarks.key}\n{linear}"
        # Without a registration it is what it was before there were any.
        if self.registration is not None:
            about += f"\n{self.registration.event_id}"
        return hashlib.sha256(about.encode()).hexdigest()[:12]

    @property
    def made_from(self) -> MadeFrom:
        """What the alignment says that it is made from."""
        return MadeFrom(
            orientation=self.stated,
            registration="" if self.registration is None else self.registration.name,
            n_pairs=len(self.landmarks.pairs),
            n_points=len(self.landmarks.points),
        )


class ProjectSpaces:
    """Joins a project's spaces: one current alignment between any two datasets.

    Parameters
    ----------
    project : Project
    """

    def __init__(self, project: Project) -> None:
        self._project = project
        self._current: dict[tuple[str, str], tuple[str, Alignment]] = {}

    def oriented(self) -> SpaceGraph:
        """Return the spaces joined by the orientations alone.

        Each dataset hangs on the default in-vivo dataset, centre on centre up to the
        orientation's shift.
        """
        return SpaceGraph(self._orientations(), spaces=list(self._project.datasets))

    def linear(self, source: str, target: str) -> npt.NDArray[np.float64]:
        """Return the (3, 3) linear part of the way between two spaces by orientations alone."""
        corners = np.vstack([np.zeros(3), np.eye(3)])
        mapped = self.oriented().map_points(corners, source, target)
        return np.asarray((mapped[1:] - mapped[0]).T)

    def stated_linear(self, source: str, target: str) -> npt.NDArray[np.float64] | None:
        """Return `linear`, or None where nobody has said how the two lie to each other."""
        if all(self._project.dataset(name).orientation is None for name in (source, target)):
            return None
        return self.linear(source, target)

    def rough_linear(
        self, source: str, target: str, n_landmarks: int
    ) -> npt.NDArray[np.float64] | None:
        """Return the linear part that a fit to some landmarks may lean on, None where to none.

        Fewer than four landmarks leave a turn open, which then comes from the orientation,
        stated or not.
        """
        stated = self.stated_linear(source, target)
        if stated is None and n_landmarks < ENOUGH_LANDMARKS:
            return self.linear(source, target)
        return stated

    def alignment(self, source: str, target: str) -> Alignment | InverseAlignment:
        """Return the current map between two datasets; see `Project.alignment`."""
        first, second = self._in_order(source, target)
        basis = self._basis(first, second)
        key, found = self._current.get((first, second), ("", None))
        if found is None or key != basis.key:
            found = self._made(first, second, basis)
            if found.made_from.known:
                self._current[first, second] = (basis.key, found)
        return found if found.source == source else found.inverse()

    def keep(self, alignment: Alignment) -> None:
        """Make an alignment with uncertain matches the current one until a pair changes.

        It is written to the project as well, so that other programs map alike; where that
        is not allowed, it holds for this one.
        """
        first, second = self._in_order(alignment.source, alignment.target)
        key = self._basis(first, second).key
        self._current[first, second] = (key, alignment)
        try:
            write_alignment(self._file(first, second), alignment, key)
        except OSError as error:
            logger.warning("The alignment could not be written: %s", error)

    def _made(self, first: str, second: str, basis: _Basis) -> Alignment:
        from napari_neurobridge.spaces.fit import alignment_without_landmarks, fit_alignment

        registration = basis.registration
        kept = read_alignment(self._file(first, second), basis.key)
        if kept is not None and {kept.source, kept.target} == {first, second}:
            if registration is None or not kept.made_from.registration:
                return kept
            return replace(kept, mean=registration.leading_from(kept.source))
        mean = None if registration is None else registration.leading_from(first)
        if len(basis.landmarks):
            made = fit_alignment(
                basis.landmarks.to_landmarks(),
                orientation=basis.linear,
                mean=mean,
                source=first,
                target=second,
            )
        elif mean is not None:
            center = mean.map_points([self._center_um(first)])[0]
            made = alignment_without_landmarks(
                mean, orientation=True, prior=_LEFT_BY_REGISTRATION, center_um=center
            )
        else:
            made = alignment_without_landmarks(
                SpacePath(self._joined().path(first, second)), orientation=basis.stated
            )
        return replace(made, made_from=basis.made_from)

    def _basis(self, first: str, second: str) -> _Basis:
        landmarks = ProjectLandmarks.of(self._project.state(), first, second)
        return _Basis(
            landmarks,
            self.rough_linear(first, second, len(landmarks)),
            self.stated_linear(first, second) is not None,
            self._project.state().registration(first, second),
        )

    def _in_order(self, source: str, target: str) -> tuple[str, str]:
        """Return two datasets in the order in which their alignment is fitted."""
        if source == target:
            raise InputError(f"'{source}' needs no alignment with itself.")
        known = list(self._project.datasets)
        specs = sorted(
            (self._project.dataset(name) for name in (source, target)),
            key=lambda spec: (spec.role is Role.EX_VIVO, known.index(spec.name)),
        )
        return specs[0].name, specs[1].name

    def _joined(self) -> SpaceGraph:
        """Return the spaces joined by landmarks and registrations, else as `oriented`."""
        graph = self.oriented()
        state = self._project.state()
        registered = state.registrations.values()
        joined = {mark.datasets for mark in state.landmarks.living.values()}
        joined |= {names for names in state.agreed.values() if names[0] != names[1]}
        joined |= {(kept.transform.source, kept.transform.target) for kept in registered}
        for source, target in sorted(joined):
            first, second = self._in_order(source, target)
            has_landmarks = len(ProjectLandmarks.of(state, first, second)) > 0
            if has_landmarks or state.registration(first, second) is not None:
                graph.add(self.alignment(first, second))
        return graph

    def _file(self, first: str, second: str) -> Path:
        return self._project.transforms_dir / f"{first}--{second}.npz"

    def _orientations(self) -> list[Affine]:
        specs = list(self._project.datasets.values())
        if len(specs) < 2 or Role.IN_VIVO not in {spec.role for spec in specs}:
            return []
        reference = self._project.in_vivo()
        center = self._center_um(reference)
        return [
            spec.used_orientation.to_affine(
                source=reference,
                target=spec.name,
                source_center_um=center,
                target_center_um=self._center_um(spec.name),
            )
            for spec in specs
            if spec.name != reference
        ]

    def _center_um(self, name: str) -> Vec3:
        """Centre of a dataset's image, or of the box around its points when it has none."""
        if self._project.dataset(name).uri is not None:
            return self._project.volume(name).center_um
        somata = self._project.state().somata[name]
        if not somata:
            return (0.0, 0.0, 0.0)
        points = np.array([soma.center_um for soma in somata.values()])
        z, y, x = (points.min(axis=0) + points.max(axis=0)) / 2
        return (float(z), float(y), float(x))
