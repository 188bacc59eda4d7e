"""The forms behind the later lines of the Data dock: orientation, somata and index."""

from __future__ import annotations

from qtpy.QtWidgets import (
    QLabel,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from napari_neurobridge.errors import InputError
from napari_neurobridge.spaces import Orientation
from napari_neurobridge.widgets._form import ModelForm
from napari_neurobridge.workbench.workbench import Workbench


class OrientationForm(QWidget):
    """Says how the fMOST brain lies in the two-photon frame; the canvas turns at once."""

    def __init__(self, workbench: Workbench) -> None:
        super().__init__()
        self._workbench = workbench
        explanation = QLabel(
            "Which fMOST axis, with its sign, runs along the two-photon depth, rows and "
            "columns: the fMOST canvas turns, and both sides should look alike. Angle and "
            "expansion act on the crops."
        )
        explanation.setWordWrap(True)
        self.form = ModelForm(Orientation())
        self.apply_button = QPushButton("Turn the fMOST side")
        self.apply_button.setObjectName("orientation_button")
        self.confirm_button = QPushButton("Same axes: both sides look alike")
        self.confirm_button.setObjectName("confirm_same_axes_button")
        self.confirm_button.setToolTip("Records that nothing has to be turned or flipped")
        self.suggest_button = QPushButton("Suggest an angle")
        self.suggest_button.setObjectName("suggest_angle_button")
        self.suggest_button.setToolTip(
            "Compares somata of both sides at all in-plane angles, the axes as they are set; "
            "needs somata on both sides, and changes nothing"
        )
        self.suggestion = QLabel()
        self.suggestion.setObjectName("suggested_angle")
        self.suggestion.setWordWrap(True)
        self.use_button = QPushButton("Use this angle")
        self.use_button.setObjectName("use_angle_button")
        self.problem = QLabel()
        self.problem.setWordWrap(True)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        for widget in (
            explanation,
            self.form,
            self.apply_button,
            self.problem,
            self.confirm_button,
            self.suggest_button,
            self.suggestion,
            self.use_button,
        ):
            layout.addWidget(widget)
        self.apply_button.clicked.connect(self._on_apply_clicked)
        self.confirm_button.clicked.connect(self._on_confirm_clicked)
        self.suggest_button.clicked.connect(self._on_suggest_clicked)
        self.use_button.clicked.connect(self._on_use_clicked)
        workbench.session.project_changed.connect(self._show_orientation)
        workbench.session.orientation_changed.connect(self._show_orientation)
        workbench.setup.suggestion_changed.connect(self._show_suggestion)
        self._show_problem("")
        self._show_orientation()
        self._show_suggestion()

    def _on_apply_clicked(self) -> None:
        try:
            orientation = self.form.value()
        except InputError as error:
            self._show_problem(f"⚠ {error}")
            return
        self._show_problem("")
        assert isinstance(orientation, Orientation)
        self._workbench.setup.set_orientation(orientation)

    def _on_confirm_clicked(self) -> None:
        self._show_problem("")
        self._workbench.setup.set_orientation(Orientation())

    def _on_suggest_clicked(self) -> None:
        self._workbench.setup.suggest_angle()

    def _on_use_clicked(self) -> None:
        suggestion = self._workbench.setup.suggestion
        if suggestion is not None and suggestion.orientation is not None:
            self._workbench.setup.set_orientation(suggestion.orientation)

    def _show_problem(self, text: str) -> None:
        self.problem.setText(text)
        self.problem.setVisible(bool(text))

    def _show_orientation(self, _: object = None) -> None:
        project = self._workbench.project
        if project is not None:
            self.form.setValue(project.dataset(project.ex_vivo()).used_orientation)
            self.suggest_button.setEnabled(project.has_images())

    def _show_suggestion(self) -> None:
        suggestion = self._workbench.setup.suggestion
        self.suggestion.setText("" if suggestion is None else suggestion.text)
        self.suggestion.setVisible(suggestion is not None)
        self.use_button.setVisible(suggestion is not None and suggestion.orientation is not None)
