"""The button that writes files: tables, a figure of the pair in question, Insight pages."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from qtpy.QtWidgets import QFileDialog, QMenu, QPushButton, QWidget

from napari_neurobridge.insight import figures
from napari_neurobridge.widgets.insight_plots import Page, draw
from napari_neurobridge.widgets.insight_words import nothing_to_show
from napari_neurobridge.workbench.workbench import Workbench

Pictures = Callable[[], list[figures.Picture]]

_TABLES = "Tables (*.csv *.parquet)"
_FIGURES = "Figures (*.png *.pdf *.svg)"


def no_pictures() -> list[figures.Picture]:
    """Return nothing: for a panel without a viewer."""
    return []


class ExportButton(QPushButton):
    """Lists what can be written.

    Parameters
    ----------
    workbench : Workbench
    pictures : callable
        Returns what both canvases show now.
    """

    def __init__(
        self, workbench: Workbench, pictures: Pictures, parent: QWidget | None = None
    ) -> None:
        super().__init__("Export", parent)
        self._workbench = workbench
        self._pictures = pictures
        self.setObjectName("export_button")
        self.setToolTip("Write tables and figures of this project")
        self.list = QMenu(self)
        self.list.setObjectName("export_menu")
        self.list.aboutToShow.connect(self._fill)
        self.setMenu(self.list)
        workbench.session.project_changed.connect(self._on_project_changed)
        self._on_project_changed(workbench.project)

    def _on_project_changed(self, project: object) -> None:
        self.setEnabled(project is not None)

    def _fill(self) -> None:
        self.list.clear()
        for table in self._workbench.exports.tables():
            words = table.replace("somata_", "somata of ").capitalize().replace("&", "&&")
            self._add(f"{words} (CSV)…", partial(self._save_table, table))
        self._add("All tables (CSV)…", self._save_tables)
        self.list.addSeparator()
        asked = self._workbench.questions.snapshot.query is not None
        self._add("Figure of this pair (PNG, PDF)…", self._save_pair, enabled=asked)
        self.list.addSeparator()
        for page in Page:
            self._add(f"Insight: {page.value}…", partial(self._save_page, page))

    def _add(self, text: str, act: Callable[[], None], *, enabled: bool = True) -> None:
        action = self.list.addAction(text)
        assert action is not None
        action.setEnabled(enabled)
        action.triggered.connect(lambda _checked=False: act())

    def _save_table(self, table: str) -> None:
        path = self._ask(f"{table}.csv", _TABLES)
        if path is not None:
            self._workbench.exports.export_table(table, path)

    def _save_tables(self) -> None:
        folder = QFileDialog.getExistingDirectory(self, "Choose a folder for the tables")
        if folder:
            self._workbench.exports.export_tables(Path(folder))

    def _save_pair(self) -> None:
        # Before a dialog lies over them, and before another cell is asked about.
        pictures = self._pictures()
        query = self._workbench.questions.snapshot.query
        name = "pair" if query is None or query.uid is None else query.uid
        path = self._ask(f"{name}.png", _FIGURES)
        if path is not None:
            self._workbench.exports.export_pair(path, pictures)

    def _save_page(self, page: Page) -> None:
        path = self._ask(f"{page.name.lower()}.png", _FIGURES)
        if path is None:
            return
        insights, has_project = self._workbench.insights, self._workbench.project is not None
        insights.save_figure(
            partial(draw, page, insights, figures.LIGHT),
            path,
            otherwise=nothing_to_show(page, insights, has_project),
        )

    def _ask(self, name: str, kinds: str) -> Path | None:
        """Ask where to write; the usual suffix is added where none is typed."""
        chosen, _ = QFileDialog.getSaveFileName(self, "Export", name, kinds)
        if not chosen:
            return None
        path = Path(chosen)
        return path if path.suffix else path.with_suffix(Path(name).suffix)
