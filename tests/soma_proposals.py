"""What a search for a project's field finds, without searching: a map through known partners."""

from __future__ import annotations

import numpy as np

from fixtures.points import PointsWorld
from napari_neurobridge.matching.constellation.localise import Localisation
from napari_neurobridge.project.folder import Project
from napari_neurobridge.registration.quality import Evidence, RegistrationDecision
from napari_neurobridge.spaces.choose_fit import choose_fit
from napari_neurobridge.spaces.correspondences import Correspondences
from napari_neurobridge.workflows.register import RegistrationProposal

SIDES = "two_photon", "fmost"
EVIDENCE = Evidence(
    n_source=120, n_target=600, n_initial=60, n_verified=55, n_agreeing=50, inlier_ratio=0.9
)
ACCEPTED = RegistrationDecision(accepted=True, reason="50 matches agree.")
REFUSED = RegistrationDecision(
    accepted=False, reason="Only 3 matches agree.", failed=("least_matches",)
)


def partners_um(project: Project, world: PointsWorld) -> tuple[np.ndarray, np.ndarray]:
    """Return where known partners lie, (N, 3) each."""
    state = project.state()
    uids = sorted(world.partners)
    here = np.array([state.soma(uid).center_um for uid in uids])
    return here, np.array([state.soma(world.partners[uid]).center_um for uid in uids])


def proposal(
    project: Project,
    world: PointsWorld,
    *,
    every: int = 2,
    decision: RegistrationDecision = ACCEPTED,
) -> RegistrationProposal:
    """Return what a search would find: a map through some of the partners."""
    here, there = partners_um(project, world)
    kept = np.ones(len(here), dtype=np.bool_)
    choice = choose_fit(
        Correspondences(
            here[::every], there[::every], kept[::every], source=SIDES[0], target=SIDES[1]
        )
    )
    found = Localisation(here, there, kept * 1.0, kept, choice, EVIDENCE, decision, 1.0)
    return RegistrationProposal(*SIDES, found)
