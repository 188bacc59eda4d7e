"""The index on disk, and the search in it."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_neurobridge.errors import Cancelled, InputError
from napari_neurobridge.io.crops import CropSpec
from napari_neurobridge.matching.appearance import gallery as module
from napari_neurobridge.matching.appearance.gallery import (
    Gallery,
    IndexCount,
    count_embedded,
    embed_positions,
    index_project,
    load_gallery,
)
from napari_neurobridge.matching.appearance.shards import gallery_folder
from napari_neurobridge.project.folder import Project
from napari_neurobridge.project.log.annotate import add_somata, delete_soma, move_soma
from napari_neurobridge.spaces import Affine
from napari_neurobridge.spaces.crop_frame import CropFrame
from napari_neurobridge.spaces.orientation import Orientation
from napari_neurobridge.types import SomaSource

N_ALL, N_FMOST = 15, 9


def make_gallery(embeddings: np.ndarray) -> Gallery:
    n = len(embeddings)
    uids = tuple(f"fm-{row:05d}" for row in range(n))
    return Gallery("fmost", uids, np.zeros((n, 3)), embeddings.astype(np.float32), n)


@given(
    n=st.integers(1, 40),
    k=st.integers(1, 50),
    levels=st.integers(1, 5),
    seed=st.integers(0, 10_000),
)
def test_search_agrees_with_a_full_stable_sort(n: int, k: int, levels: int, seed: int) -> None:
    # Few distinct values in one dimension, so that there are many ties at the cut.
    values = np.random.default_rng(seed).integers(0, levels, n) / 8
    rows, similarities = make_gallery(values[:, None]).search(np.ones(1, np.float32), k)
    expected = np.argsort(-values, kind="stable")[:k]
    np.testing.assert_array_equal(rows, expected)
    np.testing.assert_allclose(similarities, values[expected])


@given(n=st.integers(1, 40), levels=st.integers(1, 5), seed=st.integers(0, 10_000))
def test_locate_agrees_with_a_search_of_everything(n: int, levels: int, seed: int) -> None:
    values = np.random.default_rng(seed).integers(0, levels, n) / 8
    gallery, query = make_gallery(values[:, None]), np.ones(1, np.float32)
    rows, similarities = gallery.search(query, n)
    located = [gallery.locate(query, gallery.uids[row]) for row in rows]
    assert located == list(zip(rows, range(1, n + 1), similarities, strict=True))


@pytest.mark.parametrize("k", [0, -3])
def test_search_refuses_a_k_below_one(k: int) -> None:
    with pytest.raises(InputError, match="at least one"):
        make_gallery(np.eye(2)).search(np.ones(2, np.float32), k)


def test_index_embeds_every_living_soma_once(project: Project, encoder) -> None:
    first = index_project(project, encoder)
    assert first.n_embedded == N_ALL
    assert first.n_indexed == {"two_photon": 6, "fmost": 9}
    assert first.model == "fake@0123456789ab"
    assert index_project(project, encoder).n_embedded == 0
    assert encoder.n_embedded == N_ALL


def test_gallery_holds_the_embedding_of_each_position(project: Project, encoder) -> None:
    index_project(project, encoder)
    gallery = load_gallery(project, encoder, "fmost")
    somata = project.state().somata["fmost"]
    assert gallery.uids == tuple(sorted(somata))
    centers = [somata[uid].center_um for uid in gallery.uids]
    np.testing.assert_array_equal(gallery.centers_um, centers)
    expected = embed_positions(project, encoder, "fmost", centers)
    np.testing.assert_allclose(gallery.embeddings, expected, atol=1e-6)


def test_added_and_moved_somata_are_embedded_and_no_others(project: Project, encoder) -> None:
    index_project(project, encoder)
    gallery = load_gallery(project, encoder, "fmost")
    uid, before = gallery.uids[3], gallery.embeddings[3]
    move_soma(project, uid, (20.0, 60.0, 70.0))
    add_somata(project, "fmost", [(30.0, 90.0, 90.0)], source=SomaSource.MANUAL)
    assert count_embedded(project, encoder) == IndexCount(N_ALL - 1, N_ALL + 1)
    assert index_project(project, encoder).n_embedded == 2
    after = load_gallery(project, encoder, "fmost")
    assert len(after) == N_FMOST + 1
    row = after.row(uid)
    assert not np.allclose(after.embeddings[row], before)
    np.testing.assert_array_equal(after.centers_um[row], (20.0, 60.0, 70.0))


def test_deleted_somata_leave_the_gallery_without_a_new_index(project: Project, encoder) -> None:
    index_project(project, encoder)
    uid = load_gallery(project, encoder, "fmost").uids[0]
    delete_soma(project, uid)
    gallery = load_gallery(project, encoder, "fmost")
    assert uid not in gallery.uids
    gallery.require_most()


def test_a_cancelled_run_keeps_its_shards_and_continues(
    project: Project, encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SHARD_SIZE", 2)

    def cancel(done: int, total: int, message: str) -> None:
        assert total == N_ALL
        if done >= 4:
            raise Cancelled("stopped")

    with pytest.raises(Cancelled):
        index_project(project, encoder, report=cancel)
    kept = count_embedded(project, encoder).n_embedded
    assert 2 <= kept < N_ALL
    assert index_project(project, encoder).n_embedded == N_ALL - kept
    assert count_embedded(project, encoder) == IndexCount(N_ALL, N_ALL)


@pytest.mark.parametrize("suffix", [".npy", ".npz"])
def test_a_damaged_shard_is_embedded_again(project: Project, encoder, suffix: str) -> None:
    index_project(project, encoder)
    folder = gallery_folder(project, encoder, "fmost")
    (shard,) = folder.glob(f"shard-*{suffix}")
    shard.write_bytes(shard.read_bytes()[:50])
    reopened = Project.open(project.path)
    assert count_embedded(reopened, encoder).n_embedded == N_ALL - N_FMOST
    assert index_project(reopened, encoder).n_embedded == N_FMOST


def test_a_shard_without_its_names_does_not_count(project: Project, encoder) -> None:
    index_project(project, encoder)
    (names,) = gallery_folder(project, encoder, "fmost").glob("shard-*.npz")
    names.unlink()
    assert index_project(project, encoder).n_embedded == N_FMOST


def test_the_key_changes_with_all_that_changes_a_crop(project: Project, encoder) -> None:
    def key() -> Path:
        return gallery_folder(project, encoder, "fmost")

    plain = key()
    keys = {plain, gallery_folder(project, encoder, "fmost", CropSpec(slab_um=20.0))}
    encoder.hash = "ffffffffffff"
    keys.add(key())
    encoder.hash = "0123456789ab"
    project.set_orientation("fmost", Orientation(axes="+y+z+x"))
    keys.add(key())
    project.set_orientation("fmost", Orientation(expansion=0.9))
    keys.add(key())
    assert len(keys) == 5
    # Where the tissue lies does not change what a crop shows.
    project.set_orientation("fmost", Orientation(shift_um=(5.0, 0.0, 0.0)))
    assert key() == plain


def test_an_orientation_change_asks_for_a_new_index(project: Project, encoder) -> None:
    index_project(project, encoder)
    project.set_orientation("fmost", Orientation(axes="+y+z+x"))
    with pytest.raises(InputError, match=r"9 of 9 .* 'fmost' .*not indexed"):
        load_gallery(project, encoder, "fmost").require_most()
    project.set_orientation("fmost", Orientation())
    load_gallery(project, encoder, "fmost").require_most()


def test_the_gallery_stays_in_memory_until_its_somata_change(project: Project, encoder) -> None:
    index_project(project, encoder)
    gallery = load_gallery(project, encoder, "fmost")
    add_somata(project, "two_photon", [(9.0, 9.0, 9.0)], source=SomaSource.MANUAL)
    assert load_gallery(project, encoder, "fmost") is gallery
    delete_soma(project, gallery.uids[0])
    assert load_gallery(project, encoder, "fmost") is not gallery


def test_index_without_somata_says_what_to_do(tmp_path: Path, project: Project, encoder) -> None:
    empty = Project.create(
        tmp_path / "empty.neurobridge",
        [
            spec.model_copy(update={"uri": project.image_path(name)})
            for name, spec in project.datasets.items()
        ],
    )
    with pytest.raises(InputError, match="no somata to index"):
        index_project(empty, encoder)
    with pytest.raises(InputError, match="has no somata"):
        load_gallery(empty, encoder, "fmost").require_most()


def test_index_refuses_while_another_job_runs(project: Project, encoder) -> None:
    with project.lock(), pytest.raises(InputError, match="already runs"):
        index_project(project, encoder)


def test_vectors_of_another_length_are_refused(project: Project, encoder) -> None:
    index_project(project, encoder)
    gallery = load_gallery(project, encoder, "fmost")
    query = np.ones(64, dtype=np.float32)
    with pytest.raises(InputError, match="vectors of length 100, not 64 as the model makes them"):
        gallery.search(query, 3)
    with pytest.raises(InputError, match="index again"):
        gallery.locate(query, gallery.uids[0])


def test_the_folder_of_an_index_that_exists_keeps_its_name(project: Project, encoder) -> None:
    """Indexes of earlier versions are found: their digest is written out here once more."""
    source = project.dataset("fmost")
    look = {
        "crop": CropSpec().digest(),
        "linear": np.eye(3).tolist(),
        "image": source.fingerprint or source.uri,
        "voxel_size_um": source.voxel_size_um,
        "axes": source.axes,
        "channel": source.channel,
        "projection": source.projection,
    }
    digest = hashlib.sha256(json.dumps(look, sort_keys=True).encode()).hexdigest()[:12]
    folder = gallery_folder(project, encoder, "fmost")
    assert folder == project.embeddings_dir / f"{encoder.hash}-{digest}" / "fmost"


def test_the_folder_of_another_frame_is_another(project: Project, encoder) -> None:
    turn = Affine.from_linear(2 * np.eye(3), np.zeros(3), source="two_photon", target="fmost")
    frames = [None, CropFrame(np.eye(3)), *(CropFrame(np.eye(3), turn, name) for name in "ab")]
    folders = [gallery_folder(project, encoder, "fmost", frame=frame) for frame in frames]
    assert folders[0] == folders[1]
    assert len(set(folders)) == 3
