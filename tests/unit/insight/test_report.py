import base64
import io
import re

import numpy as np
import pytest
import torch
from PIL import Image

from napari_neurobridge.encoder.dual_channel import DualChannelEncoder, EncoderConfig
from napari_neurobridge.encoder.embed import Encoder
from napari_neurobridge.encoder.global_channel import GlobalConfig
from napari_neurobridge.encoder.local_channel import LocalConfig
from napari_neurobridge.errors import Cancelled, InputError
from napari_neurobridge.insight.report import write_report
from napari_neurobridge.insight.report_page import Section, facts, page, paragraph, table
from napari_neurobridge.insight.report_subject import ReportSubject, file_subject
from napari_neurobridge.io.pairs import PairSet
from napari_neurobridge.training.plain_measures import PlainMeasure


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)
    pytest.importorskip("captum")


@pytest.fixture(scope="module")
def encoder():
    torch.manual_seed(0)
    options = {"patch_size": 2, "embed_dim": 16, "depth": 1, "num_heads": 2}
    config = EncoderConfig(
        name="small",
        crop_pixels=32,
        dim=24,
        local_channel=LocalConfig(window=16, widths=(8,), strides=(2,), blocks=(1,)),
        global_channel=GlobalConfig(
            stem_widths=(8,), stem_strides=(4,), stem_blocks=(1,), vit_options=options
        ),
    )
    return Encoder(DualChannelEncoder(config), "abc")


def pair_set(n, scenes=1):
    rng = np.random.default_rng(0)
    two_photon = rng.random((n, 32, 32), dtype=np.float32)
    fmost = np.clip(two_photon + rng.normal(0, 0.1, two_photon.shape), 0, 1).astype(np.float32)
    return PairSet(two_photon, fmost, np.arange(n) % scenes)


@pytest.fixture(scope="module")
def folder(encoder, tmp_path_factory):
    """A folder with a report on two scenes; a report takes seconds, most of them for drawing."""
    pytest.importorskip("captum")
    folder = tmp_path_factory.mktemp("report")
    subject = file_subject("pairs.npz", pair_set(12, scenes=2))
    measures = [PlainMeasure.PEARSON]
    path = folder / "out" / "report.html"
    card = "# the card <of> it"
    assert write_report(subject, encoder, path, measures=measures, card=card) == path
    return path.parent


@pytest.fixture
def html(folder):
    return (folder / "report.html").read_text(encoding="utf-8")


def test_the_report_is_one_file_that_asks_nobody_for_anything(folder, html):
    assert [path.name for path in folder.iterdir()] == ["report.html"]
    assert "<script" not in html
    assert not re.search(r"(?:src|href)\s*=\s*[\"'](?!data:)", html)
    assert "http" not in re.sub(r"base64,[^\"]*", "", html)
    pictures = re.findall(r'alt="([^"]+)" src="data:image/png;base64,([^"]+)"', html)
    assert len(pictures) >= 7
    for words, data in pictures:
        assert len(words) > 20
        assert Image.open(io.BytesIO(base64.b64decode(data))).width >= 900


def test_the_report_holds_every_part_and_its_limits(html):
    for title in ("Data", "Model", "Finding the partner", "Same neuron or not", "Similarities"):
        assert f"<h2>{title}</h2>" in html
    assert "12 from 2 scenes" in html
    assert "not yet validated on a public pair" in html
    assert "# the card &lt;of&gt; it" in html
    assert "small (abc)" in html
    assert html.count("<td>pair ") == 12


def test_three_pairs_have_a_report_without_a_threshold(encoder, tmp_path):
    path = tmp_path / "report.html"
    write_report(file_subject("pairs.npz", pair_set(3)), encoder, path, measures=())
    assert "Four pairs are needed" in path.read_text(encoding="utf-8")


def test_fewer_than_two_pairs_are_refused():
    with pytest.raises(InputError, match="at least 2 accepted pairs, not 1"):
        file_subject("pairs.npz", pair_set(1))


def test_names_must_fit_the_pairs():
    with pytest.raises(InputError, match="export again"):
        ReportSubject(title="t", pairs=pair_set(3), names=(("a", "b"),))


def test_a_cancelled_report_leaves_no_file(encoder, tmp_path):
    def stop(done, total, message):
        raise Cancelled("Stopped.")

    path = tmp_path / "report.html"
    with pytest.raises(Cancelled):
        write_report(file_subject("pairs.npz", pair_set(4)), encoder, path, report=stop)
    assert not list(tmp_path.iterdir())


def test_words_are_escaped_on_a_page():
    html = page(
        "<b>",
        "a & b",
        [Section("c", (paragraph("<i>"), facts([("<u>", "&")]), table(("<s>",), [("<",)])))],
    )
    assert not re.search(r"<[bius]>", html)
    assert "a &amp; b" in html
