"""All cells matched at once: how many pairs, and the slider that sets how many may be wrong."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QCheckBox,
    QFileDialog,
    QGroupBox,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QSlider,
    QVBoxLayout,
    QWidget,
)
from superqt.utils import signals_blocked

from napari_neurobridge.viewer.styles import MARK_COLORS, Mark, swatch
from napari_neurobridge.widgets.job_list import JobList
from napari_neurobridge.workbench.matches import DECOYS_JOB, MATCH_JOB
from napari_neurobridge.workbench.pair_table import Chip
from napari_neurobridge.workbench.snapshot import QuestionSnapshot
from napari_neurobridge.workbench.workbench import Workbench
from napari_neurobridge.workflows.match import has_landmarks

_SAVE = "Save the accepted and the matched pairs as a CSV table"
_SAVE_LATER = "Not during a random check: the table would tell what is asked. Answer it first."

_UNCHECKED = "Decoy check: not possible, because the field is too small to shift"

LEAST_PERCENT, MOST_PERCENT = 1, 20

_LEGEND = (
    (Mark.ACCEPTED, "accepted"),
    (Mark.CLAIMED, "matched (darker: less certain)"),
    (Mark.UNMATCHED, "not matched"),
)


class MatchAllBox(QGroupBox):
    """Says how many pairs are matched at a cut, moves the cut, and saves the pairs.

    Parameters
    ----------
    workbench : Workbench
        Shared state; the box reads it and calls its methods.
    """

    def __init__(self, workbench: Workbench, parent: QWidget | None = None) -> None:
        super().__init__("All cells", parent)
        self._workbench = workbench
        self.text = QLabel()
        self.text.setObjectName("match_all_text")
        self.text.setWordWrap(True)
        self.notes = QLabel()
        self.notes.setObjectName("match_all_notes")
        self.notes.setWordWrap(True)
        self.review = QPushButton()
        self.review.setObjectName("review_button")
        self.review.setToolTip("Lists them in the Pairs dock")
        self.review.clicked.connect(self._on_review_clicked)
        self.legend = QLabel()
        self.legend.setObjectName("match_all_legend")
        self.legend.setWordWrap(True)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(6, 2, 6, 4)
        layout.setSpacing(2)
        layout.addWidget(self.text)
        layout.addWidget(self.notes)
        layout.addWidget(self.review)
        layout.addWidget(self._create_cut())
        layout.addWidget(self.legend)
        layout.addWidget(self._create_plane())
        layout.addWidget(self._create_start())
        layout.addWidget(self._create_register())
        layout.addWidget(self._create_again())
        self.jobs = JobList(workbench, only=(MATCH_JOB, DECOYS_JOB))
        layout.addWidget(self.jobs)

        matches, session = workbench.matches, workbench.session
        matches.match_changed.connect(self._refresh)
        matches.claims_changed.connect(self._refresh)
        workbench.questions.snapshot_changed.connect(self._show_legend)
        workbench.plane.changed.connect(self._show_plane)
        session.project_changed.connect(self._refresh)
        session.verdicts_changed.connect(self._refresh)
        self._refresh()
        self._show_legend(workbench.questions.snapshot)
        self._show_plane()

    # --- controls --------------------------------------------------------------------

    def _create_cut(self) -> QWidget:
        self.slider = QSlider(Qt.Orientation.Horizontal)
        self.slider.setObjectName("fdr_slider")
        self.slider.setRange(LEAST_PERCENT, MOST_PERCENT)
        self.slider.setToolTip("False discovery rate: share of the matched pairs that may be wrong")
        self.slider.valueChanged.connect(self._on_slider_moved)
        self.cut_text = QLabel()
        self.cut_text.setObjectName("fdr_text")
        self.further = QLabel()
        self.further.setObjectName("next_cut_text")
        self.further.setWordWrap(True)
        self.decoys_button = QPushButton("Decoy check")
        self.decoys_button.setObjectName("decoys_button")
        self.decoys_button.setToolTip(
            "Shift, mirror and turn the somata of one side so that no match can be correct, "
            "match again each time, and report the worst: there should be almost none. Takes "
            "about six times as long as a match."
        )
        self.decoys_button.clicked.connect(self._on_decoys_clicked)
        self.save_button = QPushButton("Save pairs…")
        self.save_button.setObjectName("save_pairs_button")
        self.save_button.clicked.connect(self._on_save_clicked)
        self.cut = QWidget()
        slide, buttons = QHBoxLayout(), QHBoxLayout()
        slide.addWidget(self.cut_text)
        slide.addWidget(self.slider, stretch=1)
        buttons.addWidget(self.decoys_button)
        buttons.addWidget(self.save_button)
        column = QVBoxLayout(self.cut)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(2)
        column.addLayout(slide)
        column.addWidget(self.further)
        column.addLayout(buttons)
        return self.cut

    def _create_plane(self) -> QCheckBox:
        self.plane_check = QCheckBox()
        self.plane_check.setObjectName("plane_check")
        self.plane_check.setToolTip(
            "Draws the surface on which the cells of this plane lie in the other brain: a net, "
            "and a bold line where it crosses the slice that is shown; the darker, the less "
            "certain. Hidden in a random check."
        )
        self.plane_check.toggled.connect(self._workbench.plane.show)
        return self.plane_check

    def _create_start(self) -> QPushButton:
        self.start_button = QPushButton("Find first matches without any pair")
        self.start_button.setObjectName("find_start_button")
        self.start_button.setToolTip(
            "Compares how the somata lie to each other, at all angles unless one was stated"
        )
        self.start_button.clicked.connect(self._on_start_clicked)
        return self.start_button

    def _create_register(self) -> QPushButton:
        self.register_button = QPushButton("Register by somata…")
        self.register_button.setObjectName("go_to_registration_button")
        self.register_button.setToolTip(
            "Opens the Register dock, which finds the two-photon field in the fMOST volume, tells "
            "on what evidence, and lets you apply it"
        )
        self.register_button.clicked.connect(
            lambda _checked=False: self._workbench.soma_registration.show()
        )
        return self.register_button

    def _create_again(self) -> QPushButton:
        self.again_button = QPushButton("Match again")
        self.again_button.setObjectName("match_again_button")
        self.again_button.setToolTip("Matching was cancelled; this starts it anew")
        self.again_button.clicked.connect(self._on_again_clicked)
        return self.again_button

    # --- from the view to the state ------------------------------------------------------

    def _on_slider_moved(self, percent: int) -> None:
        self._workbench.matches.set_fdr(percent / 100)

    def _on_decoys_clicked(self) -> None:
        self._workbench.matches.check_decoys()

    def _on_again_clicked(self) -> None:
        self._workbench.matches.again()

    def _on_start_clicked(self) -> None:
        self._workbench.matches.find_start()

    def _on_review_clicked(self) -> None:
        self._workbench.pairs.show(Chip.REVIEW)

    def _on_save_clicked(self) -> None:
        path, _ = QFileDialog.getSaveFileName(
            self, "Save the pairs", "pairs.csv", "Table of pairs (*.csv)"
        )
        if path:
            self._workbench.matches.save_pairs(Path(path))

    # --- from the state to the view ------------------------------------------------------

    def _refresh(self, _: object = None) -> None:
        project, matches = self._workbench.project, self._workbench.matches
        self.setVisible(project is not None)
        if project is None:
            return
        claims = matches.claims()
        for widget in (self.cut, self.legend):
            widget.setVisible(claims is not None)
        self.notes.setText("\n".join(matches.notes))
        self.notes.setVisible(bool(matches.notes))
        n_doubtful = matches.n_doubtful
        self.review.setText(f"Look at {n_doubtful} doubtful pair{'s' if n_doubtful > 1 else ''}")
        self.review.setVisible(n_doubtful > 0)
        without = not matches.has_match and not has_landmarks(project)
        self.start_button.setVisible(without)
        self.register_button.setVisible(without)
        self.start_button.setEnabled(not matches.updating)
        free = not matches.updating and not matches.checking
        self.decoys_button.setEnabled(matches.decoys is None and free)
        self.again_button.setVisible(matches.cancelled and has_landmarks(project))
        self.further.setText(_further_in_words(matches.next_cut()))
        self.further.setVisible(bool(self.further.text()))
        percent = round(100 * matches.fdr)
        with signals_blocked(self.slider):
            self.slider.setValue(percent)
        self.cut_text.setText(f"at most {percent} % wrong")
        self.text.setText(self._state_in_words())

    def _show_legend(self, shown: QuestionSnapshot) -> None:
        seen = _LEGEND[:1] if shown.blind else _LEGEND
        words = [f"{swatch(MARK_COLORS[mark], '◯')} {word}" for mark, word in seen]
        hidden = ["matches are hidden in a random check"] if shown.blind else []
        self.legend.setText("&nbsp; ".join(words + hidden))
        self.save_button.setEnabled(not shown.blind)
        self.save_button.setToolTip(_SAVE_LATER if shown.blind else _SAVE)

    def _show_plane(self) -> None:
        plane, project = self._workbench.plane, self._workbench.project
        self.plane_check.setVisible(plane.dataset is not None)
        with signals_blocked(self.plane_check):
            self.plane_check.setChecked(plane.wanted)
        if project is None or plane.dataset is None:
            return
        side = "in-vivo" if plane.dataset == project.in_vivo() else "ex-vivo"
        text = f"Show the {side} plane"
        if plane.mapped is not None:
            sigma = np.median(plane.mapped.surface.sigma_um)
            text += f" (half of it known within ±{sigma:.1f} µm)"
        self.plane_check.setText(text)

    def _state_in_words(self) -> str:
        matches = self._workbench.matches
        claims = matches.claims()
        if claims is None:
            if matches.updating:
                return "Matching all cells …"
            if matches.cancelled:
                return "Matching was cancelled."
            return matches.problem or "Accept one pair; all other cells are then matched from it."
        n_claimed = len(claims.pairs) - claims.n_accepted
        wrong = f" (about {claims.expected_false:.1f} of them wrong)" if n_claimed else ""
        told = (
            f"{len(claims.pairs)} pairs: {claims.n_accepted} accepted, {n_claimed} matched{wrong}"
        )
        if matches.cancelled:
            told += "\nThe latest matching was cancelled: this is from before it."
        if (agreement := matches.agreement) is not None:
            told += f"\n{agreement}"
        if (check := matches.decoys) is not None:
            told += f"\n{f'Decoy check: {check.in_words()}' if check.n_asked else _UNCHECKED}"
        return told


def _further_in_words(further: tuple[float, int] | None) -> str:
    """Return what the slider's next step brings, as "at most 10 % wrong: 31 more pairs"."""
    if further is None:
        return ""
    cut, count = further
    more = {0: "no more pairs", 1: "1 more pair"}.get(count, f"{count:,} more pairs")
    return f"At most {100 * cut:.0f} % wrong: {more}"
