"""Ranking models for a project by their fingerprints."""

from pathlib import Path

import pytest

from fixtures.fingerprints import imprint
from fixtures.models import MakeModel
from napari_neurobridge.errors import Cancelled, ErrorKind, InputError
from napari_neurobridge.models.zoo import ModelEntry, list_models
from napari_neurobridge.project.folder import Project
from napari_neurobridge.workflows.nearest_models import nearest_models


@pytest.fixture
def entries(real_model_project: Project, make_model: MakeModel, tmp_path: Path) -> list[ModelEntry]:
    """Models of the project's negatives, of the project, of nothing known, and damaged."""
    found = []
    for name in ("negative", "near", "unknown", "damaged"):
        folder = make_model(tmp_path / "zoo" / name)
        found.append(ModelEntry(name, folder, "cache"))
        if name != "unknown":
            imprint(folder, real_model_project, flipped=name == "negative")
    file = found[-1].path / "fingerprint.npz"
    file.write_bytes(file.read_bytes()[:-10])
    return found


def test_the_nearest_comes_first_and_what_is_missing_is_said(
    real_model_project: Project, entries: list[ModelEntry]
) -> None:
    others = [entry for entry in list_models() if entry.kind != "encoder"]
    found = nearest_models(real_model_project, [*entries, *others])
    assert list(found.distances) == ["near", "negative"]
    near, negative = found.distances.values()
    assert near.mmd2 < 0.05 < negative.mmd2
    assert set(near.sides) == {"two_photon", "fmost"}
    assert found.n_crops == {"two_photon": 14, "fmost": 14}
    assert all(test.p_value > 0.5 for test in near.sides.values())
    assert all(test.p_value < 0.05 for test in negative.sides.values())
    unknown, damaged = found.notes
    assert unknown == (
        "The model 'unknown' is not ranked: its folder holds no fingerprint of its training data."
    )
    assert "The model 'damaged' is not ranked" in damaged
    assert found == nearest_models(real_model_project, [*entries, *others])


def test_a_project_without_images_is_refused(empty_project: Project) -> None:
    with pytest.raises(InputError, match="no image with at least two somata") as caught:
        nearest_models(empty_project, list_models())
    assert caught.value.kind is ErrorKind.NO_SOMATA


def test_it_can_be_cancelled(real_model_project: Project, entries: list[ModelEntry]) -> None:
    def cancel(*_: object) -> None:
        raise Cancelled("stopped")

    with pytest.raises(Cancelled):
        nearest_models(real_model_project, entries, report=cancel)
