"""Sphinx configuration; `make docs` builds the pages into docs/_build/html."""

from __future__ import annotations

import napari_neurobridge

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
