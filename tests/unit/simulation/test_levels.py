import pytest
from pydantic import ValidationError

from napari_neurobridge.errors import InputError
from napari_neurobridge.simulation.levels import LEVELS, Difficulty, level


def test_paper_is_the_default_set_of_parameters():
    assert level("paper") == Difficulty()


def test_unknown_level_names_the_known_ones():
    with pytest.raises(InputError, match="easy, paper, hard"):
        level("impossible")


def test_levels_get_harder():
    easy, paper, hard = (LEVELS[name] for name in ("easy", "paper", "hard"))
    for less, more in ((easy, paper), (paper, hard)):
        assert less.two_photon.visible_fraction > more.two_photon.visible_fraction
        assert less.fmost.labelled_fraction > more.fmost.labelled_fraction
        assert less.misfit.angle_deg < more.misfit.angle_deg


def test_levels_cannot_be_changed_or_misspelt():
    with pytest.raises(ValidationError):
        level("paper").tissue.density_per_mm3 = 1.0
    with pytest.raises(ValidationError):
        Difficulty(tisue={})
