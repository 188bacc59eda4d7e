"""The spaces of a project: laid on each other by orientations, then by accepted pairs."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_neurobridge.spaces import Orientation, SpaceGraph
from napari_neurobridge.types import Role

if TYPE_CHECKING:
    import numpy.typing as npt

    from napari_neurobridge.project.folder import Project
    from napari_neurobridge.project.log.fold import State
    from napari_neurobridge.spaces import Affine
    from napari_neurobridge.spaces.alignment import Alignment
    from napari_neurobridge.types import Vec3

ENOUGH_LANDMARKS = 4
"""Fewer leave a turn open, which then comes from the orientation, stated or not."""


@dataclass(frozen=True, eq=False)
class LandmarkPairs:
    """The undisputed accepted pairs of two datasets whose somata both live.

    Attributes
    ----------
    uids : tuple of (str, str)
        Of source and target.
    source_um, target_um : ndarray, shape (N, 3)
        µm (z, y, x), each in its own space.
    """

    uids: tuple[tuple[str, str], ...]
    source_um: npt.NDArray[np.float64]
    target_um: npt.NDArray[np.float64]

    @classmethod
    def of(cls, state: State, source: str, target: str) -> LandmarkPairs:
        """Read the pairs of two datasets, ordered by uid."""
        here, there = state.somata.get(source, {}), state.somata.get(target, {})
        pairs = sorted(
            (first, second)
            for first, second in state.pairs_between(source, target).items()
            if first in here and second in there
        )
        return cls(
            tuple(pairs),
            np.array([here[first].center_um for first, _ in pairs]).reshape(-1, 3),
            np.array([there[second].center_um for _, second in pairs]).reshape(-1, 3),
        )

    def __len__(self) -> int:
        return len(self.uids)

    @property
    def key(self) -> str:
        """Twelve hexadecimal digits that change with any landmark."""
        digest = hashlib.sha256(repr(self.uids).encode())
        digest.update(self.source_um.round(3).tobytes() + self.target_um.round(3).tobytes())
        return digest.hexdigest()[:12]


class ProjectSpaces:
    """Joins a project's spaces, and remembers the alignments that it fitted.

    Parameters
    ----------
    project : Project
    """

    def __init__(self, project: Project) -> None:
        self._project = project
        self._fitted: dict[tuple[str, str], tuple[object, Alignment]] = {}

    def oriented(self) -> SpaceGraph:
        """Return the spaces joined by the orientations alone.

        Each dataset hangs on the default in-vivo dataset, centre on centre up to the
        orientation's shift.
        """
        return SpaceGraph(self._orientations(), spaces=list(self._project.datasets))

    def aligned(self) -> SpaceGraph:
        """Return the spaces joined by the alignments where there are any, else as `oriented`."""
        graph = self.oriented()
        state = self._project.state()
        joined = {names for names in state.agreed.values() if names[0] != names[1]}
        for source, target in sorted(joined):
            alignment = self.alignment(source, target)
            if alignment is not None:
                graph.add(alignment)
        return graph

    def linear(self, source: str, target: str) -> npt.NDArray[np.float64]:
        """Return the (3, 3) linear part of the way between two spaces by orientations alone."""
        corners = np.vstack([np.zeros(3), np.eye(3)])
        mapped = self.oriented().map_points(corners, source, target)
        return np.asarray((mapped[1:] - mapped[0]).T)

    def stated_linear(self, source: str, target: str) -> npt.NDArray[np.float64] | None:
        """Return `linear`, or None where nobody has said how the two lie to each other."""
        usual = Orientation()
        if all(self._project.dataset(name).orientation == usual for name in (source, target)):
            return None
        return self.linear(source, target)

    def alignment(self, source: str, target: str) -> Alignment | None:
        """Return the alignment that the accepted pairs of two datasets give.

        Parameters
        ----------
        source, target : str

        Returns
        -------
        Alignment or None
            ``None`` without a pair.

        Raises
        ------
        InputError
            If a dataset is unknown, or the pairs cannot be of two spaces in µm.
        """
        from napari_neurobridge.spaces.alignment import fit_alignment
        from napari_neurobridge.spaces.landmarks import Landmarks

        for name in (source, target):
            self._project.dataset(name)
        pairs = LandmarkPairs.of(self._project.state(), source, target)
        if not pairs:
            return None
        linear = self.stated_linear(source, target)
        if linear is None and len(pairs) < ENOUGH_LANDMARKS:
            linear = self.linear(source, target)
        key = (pairs.key, None if linear is None else linear.tobytes())
        known = self._fitted.get((source, target))
        if known is None or known[0] != key:
            alignment = fit_alignment(
                Landmarks(pairs.source_um, pairs.target_um),
                orientation=linear,
                source=source,
                target=target,
            )
            known = self._fitted[source, target] = (key, alignment)
        return known[1]

    def _orientations(self) -> list[Affine]:
        specs = list(self._project.datasets.values())
        if len(specs) < 2 or Role.IN_VIVO not in {spec.role for spec in specs}:
            return []
        reference = self._project.in_vivo()
        center = self._center_um(reference)
        return [
            spec.orientation.to_affine(
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
