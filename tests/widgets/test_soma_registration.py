"""A project registered by its somata: from the Match dock to the Register dock, by clicks."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from qtpy.QtWidgets import QPushButton, QToolButton

from fixtures.points import PointsWorld
from fixtures.user import DESK_PX, LAPTOP_PX, User
from napari_neurobridge.viewer.registry import binding_for
from register_user import button, text_of
from soma_proposals import REFUSED, proposal

SEARCH = "napari_neurobridge.workflows.register.propose_registration"


@pytest.mark.parametrize("screen", [LAPTOP_PX, DESK_PX])
def test_the_match_dock_leads_to_it_and_it_is_applied_and_taken_back(
    user: User,
    points_world: PointsWorld,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    screen: tuple[int, int],
) -> None:
    user.resize(screen)
    given: dict[str, Any] = {"decision": REFUSED}
    waits = [True]

    def search(project: Any, *, report: Any) -> Any:
        while waits:
            report(1, 3, "looking for the field")
            time.sleep(0.01)
        return proposal(project, points_world, **given)

    monkeypatch.setattr(SEARCH, search)
    folder = tmp_path / "p.neurobridge"
    points_world.project(folder).close()
    user.menu("Plugins", "NeuroBridge", "Match")
    binding = binding_for(user.viewer)
    workbench = binding.workbench
    workbench.setup.open_project(folder)
    user.wait(lambda: workbench.project is not None and binding.second is not None)
    user.settle(60)

    user.show_tab("Match")
    go = button(user, "go_to_registration_button")
    user.reveal(go)
    user.click(go)
    user.settle(60)
    assert binding.column.front() == "Register"
    find = button(user, "register_somata_button")
    for name in ("register_somata_button", "apply_registration_button", "register_button"):
        assert user.sees(button(user, name)), name
    assert user.sees(button(user, "export_registration_button"))
    assert not button(user, "apply_registration_button").isEnabled()

    # It tells how far it is, and can be cancelled.
    user.click(find)
    user.wait(lambda: text_of(user, "job_text_register_somata") != "")
    user.settle(30)
    assert not find.isEnabled()
    # The Data dock, which lies behind, lists all jobs.
    cancels = user.window.findChildren(QPushButton, "cancel_register_somata")
    user.click(next(cancel for cancel in cancels if user.sees(cancel)))
    user.wait(find.isEnabled)
    assert workbench.soma_registration.proposal is None

    # A refusal is told with its reason.
    waits.clear()
    user.click(find)
    user.wait(lambda: "Refused." in text_of(user, "soma_registration_text"))
    assert REFUSED.reason in text_of(user, "soma_registration_text")
    assert not button(user, "apply_registration_button").isEnabled()

    # What is accepted is applied by another click, and both canvases can be locked.
    given.clear()
    assert not binding.second.lock.isEnabled()
    user.click(find)
    user.wait(lambda: "Accepted" in text_of(user, "soma_registration_text"))
    assert workbench.soma_registration.applied is None
    user.click(button(user, "apply_registration_button"))
    assert workbench.soma_registration.applied is not None
    assert "Applied" in text_of(user, "soma_registration_text")
    user.wait(binding.second.lock.isEnabled)
    user.wait(lambda: workbench.ghost.offered)

    user.click(button(user, "take_back_registration_button"))
    assert workbench.soma_registration.applied is None
    user.wait(lambda: not binding.second.lock.isEnabled())
    fold = user.find(QToolButton, "register_project_fold")
    user.click(fold)
    assert not find.isVisible()


def test_without_a_project_there_is_nothing_of_it(user: User) -> None:
    user.menu("Plugins", "NeuroBridge", "Register")
    user.settle(60)
    assert not button(user, "register_somata_button").isVisible()
