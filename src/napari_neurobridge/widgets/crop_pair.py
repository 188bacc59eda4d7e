"""The crops of the query and of the picked candidate, side by side."""

from __future__ import annotations

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QHBoxLayout, QLabel, QPushButton, QVBoxLayout, QWidget
from superqt.utils import signals_blocked

from napari_neurobridge.viewer.styles import MARK_COLORS, Mark
from napari_neurobridge.widgets.crop_view import CropView
from napari_neurobridge.workbench.snapshot import QuestionSnapshot
from napari_neurobridge.workbench.workbench import Workbench

_DEPTH_STEP_UM = 4.0


class CropPair(QWidget):
    """Shows both crops as large as there is room; the wheel scrolls both, F swaps them.

    Parameters
    ----------
    workbench : Workbench
        Shared state; the view reads its snapshot and calls its methods.
    """

    def __init__(self, workbench: Workbench, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._questions = workbench.questions
        self.query_view = CropView(MARK_COLORS[Mark.QUERY])
        self.query_view.setObjectName("query_crop")
        self.choice_view = CropView(MARK_COLORS[Mark.CHOSEN])
        self.choice_view.setObjectName("choice_crop")
        self.query_caption, self.choice_caption = QLabel(), QLabel()
        self.flicker_button = QPushButton("F  swap")
        self.flicker_button.setObjectName("flicker_button")
        self.flicker_button.setCheckable(True)
        self.flicker_button.setToolTip("Show the candidate in the place of the queried cell")
        self.flicker_button.clicked.connect(lambda _checked: self._questions.flicker())
        captions, views = QHBoxLayout(), QHBoxLayout()
        for caption in (self.query_caption, self.choice_caption):
            caption.setAlignment(Qt.AlignmentFlag.AlignCenter)
            captions.addWidget(caption, stretch=1)
        captions.insertWidget(1, self.flicker_button)
        for view in (self.query_view, self.choice_view):
            view.scrolled.connect(self._on_scrolled)
            views.addWidget(view, stretch=1)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(2)
        layout.addLayout(captions)
        layout.addLayout(views)

    def show_snapshot(self, shown: QuestionSnapshot) -> None:
        """Show the crops of a question, or texts where there are none."""
        with signals_blocked(self.flicker_button):
            self.flicker_button.setChecked(shown.flickered)
        query, crops, picked = shown.query, shown.crops, shown.picked
        if query is None or crops is None:
            for view, caption in (
                (self.query_view, self.query_caption),
                (self.choice_view, self.choice_caption),
            ):
                view.show_crop(None, "")
                caption.clear()
            return
        chosen = None
        if picked is not None and picked.place is not None and crops.candidates is not None:
            chosen = crops.candidates[picked.place - 1]
        self.choice_caption.setText(picked.uid if picked else "")
        self.choice_view.show_crop(chosen, "shown in the canvas" if picked else "pick a candidate")
        flicker = shown.flickered and chosen is not None
        self.query_view.show_crop(chosen if flicker else crops.query, "no image")
        depth = f"  {crops.depth_um:+.0f} µm" if crops.depth_um else ""
        shown_here = picked.uid if flicker and picked else query.uid or "a place"
        self.query_caption.setText(shown_here + depth)

    def _on_scrolled(self, steps: int) -> None:
        self._questions.look_deeper(steps * _DEPTH_STEP_UM)
