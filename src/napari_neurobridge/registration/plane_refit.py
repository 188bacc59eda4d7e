"""A registration of two planes with fewer matches, or with another threshold."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from napari_neurobridge.errors import InputError
from napari_neurobridge.registration.consensus import TOLERANCE_UM, verified_consensus
from napari_neurobridge.registration.image_matches import lifted
from napari_neurobridge.registration.image_registration import PlaneRegistration
from napari_neurobridge.registration.measuring import measure
from napari_neurobridge.registration.plane_fit import fit_plane
from napari_neurobridge.registration.quality import AcceptanceCriteria, decide

if TYPE_CHECKING:
    from napari_neurobridge.registration.image_matches import BoolArray, ImageMatches
    from napari_neurobridge.registration.keypoints import PlanarImage
    from napari_neurobridge.registration.plane_fit import PlaneFit

# What other poses of the images say; fewer matches of this pose do not change it.
_OF_OTHER_POSES = ("n_wrong_pose", "wrong_pose_deg", "wrong_pose_mirrored")


def refit_planes(
    found: PlaneRegistration,
    source: PlanarImage,
    target: PlanarImage,
    *,
    kept: BoolArray,
    threshold: float,
    criteria: AcceptanceCriteria | None = None,
    names: tuple[str, str] = ("source", "target"),
) -> PlaneRegistration:
    """Fit the map of a registration again, and decide again by the same criteria.

    Parameters
    ----------
    found : PlaneRegistration
        What is changed; it stays as it is.
    source, target : PlanarImage
        Of which only the sizes count.
    kept : ndarray of bool, shape (K,)
        Which of its matches are left.
    threshold : float
        Matches of a higher confidence are verified.
    criteria : AcceptanceCriteria, optional
    names : tuple of str
        Of the two spaces.

    Returns
    -------
    PlaneRegistration
        Of the matches that are left, in their order. Its margin over other poses falls with the
        agreeing matches and never rises, since no other pose was matched again.

    Raises
    ------
    InputError
        If ``kept`` does not fit the matches, or the threshold is outside of [0, 1].
    """
    if np.shape(kept) != (len(found.matches),) or not 0 <= threshold <= 1:
        raise InputError(
            f"{len(found.matches)} matches need as many marks of what is kept, and a threshold "
            f"from 0 to 1, not {np.size(kept)} and {threshold:g}."
        )
    wanted = criteria or AcceptanceCriteria()
    matches = replace(found.matches.take(np.asarray(kept, dtype=bool)), threshold=threshold)
    fitted = fit_plane(matches, _fitting(matches, found.fitted), names)
    evidence = measure(matches, fitted, source, target, cell_um=wanted.coverage_cell_um)
    before = found.evidence
    update = {name: getattr(before, name) for name in _OF_OTHER_POSES}
    if before.margin is not None:
        share = evidence.n_agreeing / max(before.n_agreeing, 1)
        update["margin"] = before.margin * min(share, 1.0)
    evidence = evidence.model_copy(update=update)
    return PlaneRegistration(matches, fitted, evidence, decide(evidence, wanted), found.poses)


def _fitting(matches: ImageMatches, fitted: PlaneFit | None) -> BoolArray:
    """Return the verified matches near the map so far, or that one similarity explains."""
    if fitted is None:
        return verified_consensus(matches)
    mapped = fitted.transform.map_points(lifted(matches.source_um))[:, 1:]
    off = np.linalg.norm(mapped - matches.target_um, axis=1)
    return np.asarray(matches.verified & (off <= TOLERANCE_UM))
