"""The Train dock, by a person's path: cells judged from the queue, a training, and the way back."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QComboBox, QFileDialog, QLabel, QListWidget, QPushButton, QSpinBox

from fixtures.models import MakeModel
from fixtures.projects import true_partner
from fixtures.user import LAPTOP_PX, User
from napari_neurobridge.models.current import current_model
from napari_neurobridge.project.folder import Project
from napari_neurobridge.viewer.binding import ViewerBinding
from napari_neurobridge.viewer.registry import binding_for
from napari_neurobridge.widgets.curve_view import CurveView
from napari_neurobridge.widgets.train import TrainPanel
from napari_neurobridge.workbench.training import TrainingChoice
from napari_neurobridge.workbench.workbench import Workbench
from napari_neurobridge.workflows.adopt import adopt_model
from napari_neurobridge.workflows.index import build_index
from napari_neurobridge.workflows.training_log import LOG_FILE
from register_user import button, text_of

PATIENCE_MS = 400_000
N_PAIRS = 8


@pytest.fixture
def tiny_project(_indexed_project: Path, tmp_path: Path, make_model: MakeModel) -> Path:
    """A project whose model is small, as is the one before, with all cells embedded by both."""
    folder = tmp_path / "tiny.neurobridge"
    shutil.copytree(_indexed_project, folder)
    project = Project.open(folder)
    for seed, name in ((1, "other"), (0, "tiny")):
        adopt_model(project, make_model(tmp_path / name, seed=seed), annotator="fixture")
        build_index(project)
    project.close()
    return folder


@pytest.fixture
def binding(
    user: User, tiny_project: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[ViewerBinding]:
    """The project, opened from the Data dock's button."""
    user.menu("Plugins", "NeuroBridge", "Data")
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_: str(tiny_project))
    user.click(user.find(QPushButton, "open_button"))
    bound = binding_for(user.viewer)
    user.wait(lambda: bound.second is not None and bound.second.header.image is not None)
    user.wait(lambda: bound.workbench.setup.index_state is not None)
    user.settle(60)
    yield bound
    bound.workbench.session.jobs.cancel("train")


def annotate_through_the_queue(user: User, binding: ViewerBinding, count: int) -> None:
    """Ask about cells, pick the true partner where it is listed, and accept it; all by keys."""
    questions, project = binding.workbench.questions, binding.workbench.project
    user.show_tab("Match")
    accepted = 0
    while accepted < count:
        user.press(Qt.Key.Key_Space)
        user.wait(lambda: questions.answer is not None or questions.problem, PATIENCE_MS)
        partner = true_partner(questions.query.uid)
        listed = questions.snapshot.candidates
        place = next((line.place for line in listed if line.uid == partner), None)
        if place is None:
            continue
        user.press(str(place))
        user.press("A")
        accepted += 1
        user.wait(lambda n=accepted: len(project.state().pairs) == n)


def choose(user: User, name: str, text: str) -> None:
    """Choose an entry of a combo box by its keys."""
    combo = user.find(QComboBox, name)
    user.reveal(combo)
    user.do(combo.setFocus)
    for _ in range(combo.count()):
        if combo.currentText() == text:
            return
        user.do(lambda: QTest.keyClick(combo, Qt.Key.Key_Down))
    assert combo.currentText() == text


def ready(user: User) -> Any:
    """Open the dock by its menu, and wait until it has counted the pairs."""
    user.menu("Plugins", "NeuroBridge", "Train")
    user.settle(60)
    user.show_tab("Train")
    start = button(user, "train_button")
    user.wait(lambda: "pairs to train on" in text_of(user, "train_outlook"), PATIENCE_MS)
    return start


def test_annotate_train_see_the_curves_adopt_or_refuse_roll_back_and_rankings_follow(
    user: User, binding: ViewerBinding, tmp_path: Path
) -> None:
    workbench = binding.workbench
    project = workbench.project
    annotate_through_the_queue(user, binding, N_PAIRS)
    start = ready(user)
    outlook = text_of(user, "train_outlook")
    assert "too little tissue" in outlook, "the field is smaller than two crops"
    assert user.window.width() <= LAPTOP_PX[0]
    assert user.window.height() <= LAPTOP_PX[1]

    choose(user, "train_strategy", "full")
    epochs = user.find(QSpinBox, "train_epochs")
    user.type(epochs, "2")
    user.press(Qt.Key.Key_Tab)
    assert epochs.value() == 2
    assert start.isEnabled()
    user.click(start)
    assert not start.isEnabled()
    user.wait(lambda: "train" in workbench.session.jobs.running())
    assert current_model(project).name == "tiny"

    # The curves grow while it runs, and the window stays alive.
    loss, score = (user.find(CurveView, f"train_{name}_curve") for name in ("loss", "score"))
    user.wait(lambda: loss.points, PATIENCE_MS)
    assert loss.isVisible()
    outcome = user.find(QLabel, "train_outcome")
    user.wait(lambda: "dopted: v1-full" in outcome.text(), PATIENCE_MS)
    assert [step for step, _ in loss.points] == [1, 2]
    assert {step for step, _ in score.points} == {0, 2}
    assert "the right partner came first for" in outcome.text()
    user.photograph(str(tmp_path / "trained.png"))

    history = user.find(QListWidget, "train_history")
    user.wait(lambda: history.count() == 3)
    assert "v1-full, from tiny" in history.item(0).text()
    if not workbench.training.outcome.adopted:
        assert "Not adopted" in outcome.text()
        assert current_model(project).name == "tiny", "what is not better is not used"
        use_from_history(user, history, "v1-full")
    user.wait(lambda: current_model(project).name == "v1-full")

    # Rankings come from the old model until all cells are embedded anew, unasked.
    user.wait(lambda: ranked_by(workbench, "v1-full"), PATIENCE_MS)
    user.wait(lambda: not workbench.session.jobs.running() and not workbench.matches.updating)
    user.settle(60)
    assert not user.find(QLabel, "train_stale").isVisible()

    roll_back(user, binding, "tiny")
    with_tiny = similarities(user, binding)
    user.show_tab("Train")
    use_from_history(user, history, "other")
    user.wait(lambda: ranked_by(workbench, "other"), PATIENCE_MS)
    user.wait(lambda: not workbench.matches.updating)
    with_other = similarities(user, binding)
    assert with_other != with_tiny, "rankings follow the model"
    user.show_tab("Train")
    roll_back(user, binding, "tiny")
    assert similarities(user, binding) == with_tiny
    lines = [history.item(row).text() for row in range(history.count())]
    assert [line.split("\n")[0] for line in lines if line.startswith("✔")] == ["✔ tiny"]


def ranked_by(workbench: Workbench, name: str) -> bool:
    """Return whether rankings come from a model, and from no older one."""
    state = workbench.indexing.state
    return state is not None and state.model == name and not state.ranked_with


def use_from_history(user: User, history: QListWidget, name: str) -> None:
    """Click a model in the list, and the button below."""
    rows = [history.item(row) for row in range(history.count())]
    item = next(item for item in rows if item.data(Qt.ItemDataRole.UserRole) == name)
    user.reveal(history)
    place = history.visualItemRect(item).center()
    user.do(lambda: QTest.mouseClick(history.viewport(), Qt.MouseButton.LeftButton, pos=place))
    use = button(user, "use_model_button")
    user.reveal(use)
    user.click(use)


def roll_back(user: User, binding: ViewerBinding, to: str) -> None:
    """Click the button, and wait until rankings have followed."""
    back = button(user, "roll_back_button")
    user.reveal(back)
    user.click(back)
    user.wait(lambda: current_model(binding.workbench.project).name == to)
    user.wait(lambda: ranked_by(binding.workbench, to), PATIENCE_MS)
    user.wait(lambda: not binding.workbench.matches.updating)


def similarities(user: User, binding: ViewerBinding) -> list[float]:
    """Ask about the first cell again, and return what its candidates look like."""
    questions = binding.workbench.questions
    uid = sorted(binding.workbench.project.state().somata["two_photon"])[0]
    user.do(lambda: questions.select("two_photon", uid))
    user.wait(lambda: questions.answer is not None and questions.query.uid == uid, PATIENCE_MS)
    found = questions.answer.ranking.candidates
    return [candidate.similarity for candidate in sorted(found, key=lambda one: one.uid)]


def test_with_too_few_pairs_the_dock_says_what_is_missing(
    user: User, binding: ViewerBinding
) -> None:
    user.menu("Plugins", "NeuroBridge", "Train")
    user.settle(60)
    user.wait(lambda: "at least 6 pairs and there are 0" in text_of(user, "train_outlook"))
    assert "accept some in the Match dock" in text_of(user, "train_outlook")
    assert not button(user, "train_button").isEnabled()


def test_a_training_that_was_stopped_is_told(
    user: User, binding: ViewerBinding, tiny_project: Path
) -> None:
    lines = [
        {"key": "0" * 16, "strategy": "full", "steps": 200},
        {"step": 40, "loss": 1.5},
    ]
    log = tiny_project / "runs" / LOG_FILE
    log.write_text("".join(json.dumps(line) + "\n" for line in lines) + '{"step": 41, "lo')
    binding.workbench.setup.open_project(tiny_project)
    user.menu("Plugins", "NeuroBridge", "Train")
    user.wait(lambda: "stopped at step 40 of 200" in text_of(user, "train_outcome"))
    assert user.find(CurveView, "train_loss_curve").points == ((40, 1.5),)


def test_a_dock_that_is_opened_later_shows_what_was_chosen(qtbot: Any) -> None:
    workbench = Workbench()
    workbench.training.choose(TrainingChoice("linear", epochs=3, free_labels=True))
    panel = TrainPanel(workbench)
    qtbot.addWidget(panel)
    assert panel.strategy.currentText() == "linear"
    assert panel.epochs.value() == 3
    assert panel.free.isChecked()
