"""What accepting would change, from a notebook."""

from __future__ import annotations

from pathlib import Path

import napari_neurobridge as nb
from fixtures.projects import accept_true_pairs
from napari_neurobridge.project.folder import Project
from napari_neurobridge.workflows.match import Claims, changed_partners, match_all

UID, OTHERS = "tp-00003", "fm-00040"


def test_it_says_what_accepting_then_does_and_writes_nothing(points_project_folder: Path) -> None:
    project = Project.open(points_project_folder)
    accept_true_pairs(project, (0, 9, 18, 27, 36))
    project.close()
    with nb.open(points_project_folder) as p:
        before = p.match()
        n_events = len(p.folder.log.events())
        told = p.would_change(before, UID, OTHERS)
        assert len(p.folder.log.events()) == n_events
        p.accept(UID, OTHERS)
        after = match_all(p.folder, start=before.match)
        changed = changed_partners(before.match, after) - {UID, OTHERS}
        assert changed
        assert changed <= set(told)
        partners = {pair.in_vivo_uid: pair.ex_vivo_uid for pair in Claims.of(after, 0.05).pairs}
        assert set(told) == changed | {partners[uid] for uid in changed & partners.keys()}
