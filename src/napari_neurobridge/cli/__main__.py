"""Lets child processes run the command line as ``python -m napari_neurobridge.cli``."""

import sys

from napari_neurobridge.cli import main

sys.exit(main())
