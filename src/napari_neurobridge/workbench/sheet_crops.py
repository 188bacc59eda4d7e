"""The pictures of a contact sheet, cut in the background: the page in sight before the next."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from napari_neurobridge.io.grey import grey_levels

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from napari_neurobridge.errors import NeuroBridgeError
    from napari_neurobridge.project.folder import Project
    from napari_neurobridge.project.log.verdicts_fold import PairKey
    from napari_neurobridge.workbench.session import Session

GreyPicture = npt.NDArray[np.uint8]

_AT_ONCE = 12
"""Pairs cut in one job: the first row is there soon, and a turned page waits for no more."""

_MOST_KEPT = 400
"""Pairs whose pictures are kept, some 18 MB."""


@dataclass(frozen=True, eq=False)
class PairPictures:
    """Both crops of a pair, seen from the same side; grey levels (pixels, pixels)."""

    two_photon: GreyPicture
    fmost: GreyPicture


class SheetCrops:
    """Cuts and keeps the pictures of pairs.

    Parameters
    ----------
    session : Session
        Where the project lives.
    arrived : callable
        Called on the main thread when pictures have come.
    """

    def __init__(self, session: Session, arrived: Callable[[], None]) -> None:
        self._session = session
        self._arrived = arrived
        self._kept: dict[PairKey, PairPictures] = {}
        self._under_way: dict[str, tuple[PairKey, ...]] = {}
        self._wanted: dict[str, tuple[PairKey, ...]] = {}

    def of(self, pair: PairKey) -> PairPictures | None:
        """Return a pair's pictures; None while they are on their way."""
        return self._kept.get(pair)

    def forget(self) -> None:
        """Drop everything: the images, the somata or how they lie are others now."""
        self._kept = {}
        for key in self._under_way:
            self._session.jobs.forget(key)
        self._under_way, self._wanted = {}, {}

    def want(self, page: Sequence[PairKey], following: Sequence[PairKey]) -> None:
        """See to it that the pictures of a page come, and then those of the next."""
        self._wanted = {"sheet": tuple(page), "next sheet": tuple(following)}
        self._go_on()

    def _go_on(self) -> None:
        coming = {pair for pairs in self._under_way.values() for pair in pairs}
        for key, pairs in self._wanted.items():
            missing = [pair for pair in pairs if pair not in self._kept]
            fresh = [pair for pair in missing if pair not in coming]
            if fresh and key not in self._under_way:
                self._cut(key, tuple(fresh[:_AT_ONCE]))
            if missing:
                return  # the page in sight is not to share the processor with the next

    def _cut(self, key: str, pairs: tuple[PairKey, ...]) -> None:
        project = self._session.project
        if project is None:
            return
        self._under_way[key] = pairs

        def keep(found: list[PairPictures]) -> None:
            del self._under_way[key]
            self._kept.update(zip(pairs, found, strict=True))
            for old in list(self._kept)[: max(len(self._kept) - _MOST_KEPT, 0)]:
                del self._kept[old]
            self._arrived()
            self._go_on()

        def refuse(error: NeuroBridgeError) -> None:
            del self._under_way[key]
            self._wanted = {}
            self._session.show_error(error)

        self._session.jobs.submit(
            key, lambda: cut_pictures(project, pairs), keep, refuse, beside=True
        )


def cut_pictures(project: Project, pairs: Sequence[PairKey]) -> list[PairPictures]:
    """Cut both crops of each pair of the default datasets, in the alignment's frame.

    Raises
    ------
    InputError
        If a soma is gone, or a dataset has no image.
    """
    from napari_neurobridge.project.crops import aligned_frame

    state = project.state()
    datasets = project.in_vivo(), project.ex_vivo()
    grey = []
    for side, (dataset, other) in enumerate((datasets, datasets[::-1])):
        centers_um = [state.soma(pair[side]).center_um for pair in pairs]
        frame = aligned_frame(project, dataset, other)
        grey.append(grey_levels(project.crops(dataset, centers_um, frame)))
    return [PairPictures(one, other) for one, other in zip(*grey, strict=True)]
