"""``detect``: which options fit which method."""

from __future__ import annotations

import io
from contextlib import redirect_stderr, redirect_stdout

import pytest

from napari_neurobridge.cli import main


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--method", "moon"], "no detection method 'moon'"),
        (["--method", "segmenter", "--soma-diameter", "9"], "takes no --soma-diameter"),
        (["--method", "segmenter", "--threshold", "2"], "least_probability"),
        (["--threshold", "-1"], "threshold"),
    ],
)
def test_options_that_do_not_fit_are_refused_in_a_sentence(tmp_path, options, message) -> None:
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = main(["detect", str(tmp_path / "p.neurobridge"), *options])
    assert code == 2
    assert message in err.getvalue()
    assert "Traceback" not in err.getvalue()
