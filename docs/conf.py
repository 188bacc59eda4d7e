"""Sphinx configuration; `make docs` builds the pages into docs/_build/html."""

from __future__ import annotations

from typing import TYPE_CHECKING

import napari_neurobridge

if TYPE_CHECKING:
    from sphinx.application import Sphinx

project = "napari-neurobridge"
author = "napari-neurobridge developers"
copyright = author
release = napari_neurobridge.__version__
version = release

extensions = ["myst_parser", "numpydoc", "sphinx.ext.autodoc"]
exclude_patterns = ["_build"]
source_suffix = {".md": "markdown"}
# numpydoc brings autosummary, whose pages this documentation does without.
autosummary_generate = False
myst_heading_anchors = 3

autodoc_typehints = "none"
numpydoc_show_class_members = False

html_theme = "pydata_sphinx_theme"
html_title = project
html_theme_options = {"navigation_with_keys": False, "show_prev_next": False}
html_sidebars = {"**": []}


def _is_from_elsewhere(
    app: object, what: str, name: str, member: object, skip: bool, options: object
) -> bool | None:
    """Skip what a module imports before its signature is read, which not all extensions have."""
    origin = getattr(member, "__module__", None) or ""
    return True if isinstance(member, type) and not origin.startswith("napari_neuro") else None


def setup(app: Sphinx) -> None:
    """Connect the filter."""
    app.connect("autodoc-skip-member", _is_from_elsewhere)
