"""The orientation of a project: stated by a person, or its angle suggested by appearance."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_neurobridge.errors import ErrorKind, InputError
from napari_neurobridge.spaces.crop_frame import CropFrame
from napari_neurobridge.spaces.orientation import Orientation
from napari_neurobridge.workflows.index import load_encoder

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy.typing as npt

    from napari_neurobridge.encoder.embed import Encoder
    from napari_neurobridge.matching.appearance.pose_search import AngleSearch
    from napari_neurobridge.project.folder import Project
    from napari_neurobridge.types import Float32Array, Report, Soma

MOST_QUERIES = 128
"""Two-photon somata that are turned: about 20 s of embedding on two idle cores."""
MOST_GALLERY = 1024
"""fMOST somata that are embedded where the index is not complete."""


@dataclass(frozen=True, eq=False)
class AngleSuggestion:
    """What the search over angles says about a project.

    Attributes
    ----------
    search : AngleSearch
        The evidence.
    orientation : Orientation or None
        Of the ex-vivo dataset, with the angle that is proposed; ``None``: not known.
    n_queries_total, n_gallery_total : int
        Somata on either side, of which some were compared.
    """

    search: AngleSearch
    orientation: Orientation | None
    n_queries_total: int
    n_gallery_total: int

    def in_words(self) -> str:
        """Return the result and its evidence in two or three sentences."""
        from napari_neurobridge.matching.appearance.pose_search import (
            FEWEST_QUERIES,
            NEEDED_DEVIATIONS,
        )

        search = self.search
        evidence = (
            f"{search.n_queries} of {self.n_queries_total} two-photon and {search.n_gallery} of "
            f"{self.n_gallery_total} fMOST somata were compared. At {search.angle_deg:.0f}° from "
            f"the present angle {search.best:.0%} of the choices are mutual, at other "
            f"angles {search.others:.0%}: {search.deviations:.1f} standard deviations more"
        )
        if self.orientation is not None:
            return f"Angle {self.orientation.angle_deg:g}° is suggested. {evidence}."
        needed = f"{NEEDED_DEVIATIONS:g} are needed"
        if search.n_queries < FEWEST_QUERIES:
            needed = f"at least {FEWEST_QUERIES} somata are needed"
        return f"The angle is not known. {evidence}; {needed}."


def state_orientation(project: Project, orientation: Orientation) -> None:
    """Record how the ex-vivo dataset lies in the two-photon frame, as a person says it."""
    project.set_orientation(project.ex_vivo(), orientation)


def suggest_angle(
    project: Project, model: str | None = None, *, report: Report | None = None
) -> AngleSuggestion:
    """Search the in-plane angle between the default datasets, without any pair.

    The axes and the expansion stay as they are; crops of the two-photon somata are cut at
    each angle and compared with the fMOST crops as they lie. Nothing is changed.

    Parameters
    ----------
    project : Project
    model : str, optional
        Name or path of the encoder; the project's current one unless given.
    report : callable, optional
        Called as ``report(done, total, message)``; it may raise to cancel.

    Returns
    -------
    AngleSuggestion

    Raises
    ------
    InputError
        If a side has no image or no somata, or there is no such model.
    """
    from napari_neurobridge.matching.appearance.pose_search import search_pose

    names = project.in_vivo(), project.ex_vivo()
    for name in names:
        if not project.has_images(name):
            raise InputError(
                f"'{name}' has points but no image, so no angle can be found by appearance."
            )
        if not project.state().somata[name]:
            raise InputError(f"'{name}' has no somata to compare.", kind=ErrorKind.NO_SOMATA)
    encoder = load_encoder(project, model)
    somata = [project.state().somata[name] for name in names]
    queries_um = _clearest_um(somata[0], MOST_QUERIES)
    gallery = _gallery(project, encoder, names[1], queries_um, report)
    search = search_pose(
        lambda angle: _embed_turned(project, encoder, names[0], queries_um, angle),
        gallery,
        views=encoder.config.views,
        report=report,
    )
    present = project.dataset(names[1]).used_orientation
    return AngleSuggestion(
        search=search,
        orientation=_with_angle(present, search.proposal_deg),
        n_queries_total=len(somata[0]),
        n_gallery_total=len(somata[1]),
    )


def _with_angle(present: Orientation, turn_deg: float | None) -> Orientation | None:
    if turn_deg is None:
        return None
    angle = (present.angle_deg + turn_deg + 180.0) % 360.0 - 180.0
    return present.model_copy(update={"angle_deg": round(angle, 6)})


def _clearest_um(somata: Mapping[str, Soma], most: int) -> npt.NDArray[np.float64]:
    """Return where the somata of highest confidence lie, (N, 3); one by hand counts as sure."""
    # A fixed order that has nothing to do with where somata of one confidence lie.
    shuffled = np.random.default_rng(0).permutation(sorted(somata))
    chosen = sorted(shuffled, key=lambda uid: -_confidence(somata[uid]))[:most]
    return np.array([somata[uid].center_um for uid in chosen])


def _confidence(soma: Soma) -> float:
    return 1.0 if soma.confidence is None else soma.confidence


def _gallery(
    project: Project,
    encoder: Encoder,
    name: str,
    queries_um: npt.NDArray[np.float64],
    report: Report | None,
) -> Float32Array:
    """Return the index where it is complete, else embed the somata nearest to the field."""
    from napari_neurobridge.matching.appearance.gallery import embed_positions, load_gallery

    indexed = load_gallery(project, encoder, name)
    if len(indexed) == indexed.n_living:
        return indexed.embeddings
    places: Sequence[Soma] = list(project.state().somata[name].values())
    centers_um = np.array([soma.center_um for soma in places])
    field_um = project.map_points(queries_um, project.in_vivo(), name).mean(axis=0)
    nearest = np.argsort(np.linalg.norm(centers_um - field_um, axis=1), kind="stable")
    return embed_positions(
        project, encoder, name, centers_um[nearest[:MOST_GALLERY]], report=report
    )


def _embed_turned(
    project: Project,
    encoder: Encoder,
    name: str,
    centers_um: npt.NDArray[np.float64],
    angle_deg: float,
) -> Float32Array:
    """Embed crops turned as an orientation by ``angle_deg`` more would turn the other side."""
    from napari_neurobridge.matching.appearance.gallery import embed_positions

    turn = Orientation(angle_deg=-_wrapped(angle_deg)).linear()
    frame = CropFrame(project.dataset(name).linear() @ turn)
    return embed_positions(project, encoder, name, centers_um, frame=frame)


def _wrapped(angle_deg: float) -> float:
    return (angle_deg + 180.0) % 360.0 - 180.0
