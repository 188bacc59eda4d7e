"""What becomes of shards that are damaged, and of those from before there were checksums."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from napari_neurobridge.errors import InputError
from napari_neurobridge.matching.appearance.gallery import (
    IndexCount,
    count_embedded,
    index_project,
    load_gallery,
)
from napari_neurobridge.matching.appearance.shards import gallery_folder
from napari_neurobridge.project.folder import Project

N_ALL, N_FMOST, DIM = 15, 9, 100


def vectors(path: Path) -> Path:
    return path.with_suffix(".npy")


def write(path: Path, array: np.ndarray) -> None:
    with vectors(path).open("wb") as handle:
        np.save(handle, array)


def random_rows(path: Path, dim: int = DIM) -> np.ndarray:
    rows = np.random.default_rng(0).normal(size=(len(np.load(vectors(path))), dim))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def truncate(path: Path) -> None:
    vectors(path).write_bytes(vectors(path).read_bytes()[:-40])


def not_a_number(path: Path) -> None:
    write(path, np.full_like(np.load(vectors(path)), np.nan))


def one_infinite(path: Path) -> None:
    rows = np.load(vectors(path))
    rows[3, 7] = np.inf
    write(path, rows)


def random_bytes(path: Path) -> None:
    content = vectors(path).read_bytes()
    noise = np.random.default_rng(1).bytes(len(content) - 128)
    vectors(path).write_bytes(content[:128] + noise)


def all_random(path: Path) -> None:
    vectors(path).write_bytes(np.random.default_rng(1).bytes(500))


def another_dimension(path: Path) -> None:
    write(path, random_rows(path, dim=64))


def another_type(path: Path) -> None:
    write(path, np.load(vectors(path)).astype(np.float64))


def too_few_rows(path: Path) -> None:
    write(path, np.load(vectors(path))[:-1])


def truncated_names(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-60])


def flipped_names(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[200] ^= 0xFF
    path.write_bytes(bytes(content))


HARMS = [
    truncate, not_a_number, one_infinite, random_bytes, all_random, another_dimension,
    another_type, too_few_rows, truncated_names, flipped_names,
]  # fmt: skip


def shard(project: Project, encoder: object) -> Path:
    (names,) = gallery_folder(project, encoder, "fmost").glob("shard-*.npz")
    return names


def forget_checksum(names: Path) -> None:
    """Make it a shard from before there were checksums."""
    with np.load(names) as arrays:
        kept = {name: arrays[name] for name in arrays if name != "sha256"}
    assert kept.keys() == {"uids", "centers_um"}
    np.savez(names, **kept)


def test_a_shard_states_its_checksum(project: Project, encoder) -> None:
    index_project(project, encoder)
    names = shard(project, encoder)
    with np.load(names) as arrays:
        stated = str(arrays["sha256"])
    assert stated == hashlib.sha256(vectors(names).read_bytes()).hexdigest()


@pytest.mark.parametrize("checked", [True, False], ids=["with checksum", "without"])
@pytest.mark.parametrize("harm", HARMS)
def test_a_damaged_shard_is_left_out_said_and_made_anew(
    project: Project, encoder, harm: Callable[[Path], None], checked: bool
) -> None:
    index_project(project, encoder)
    whole = load_gallery(project, encoder, "fmost").embeddings
    names = shard(project, encoder)
    if not checked:
        forget_checksum(names)
    harm(names)
    reopened = Project.open(project.path)
    gallery = load_gallery(reopened, encoder, "fmost")
    assert (len(gallery), gallery.n_damaged) == (0, 1)
    assert count_embedded(reopened, encoder) == IndexCount(N_ALL - N_FMOST, N_ALL, 1)
    with pytest.raises(InputError, match="damaged files of the index were left out"):
        gallery.require_most()
    again = index_project(reopened, encoder)
    assert (again.n_embedded, again.n_damaged) == (N_FMOST, 1)
    assert count_embedded(reopened, encoder) == IndexCount(N_ALL, N_ALL)
    np.testing.assert_allclose(load_gallery(reopened, encoder, "fmost").embeddings, whole)
    assert index_project(reopened, encoder).n_damaged == 0


def test_other_vectors_of_norm_one_are_told_by_the_checksum_alone(
    project: Project, encoder
) -> None:
    index_project(project, encoder)
    names = shard(project, encoder)
    write(names, random_rows(names))
    assert load_gallery(Project.open(project.path), encoder, "fmost").n_damaged == 1
    forget_checksum(names)
    assert load_gallery(Project.open(project.path), encoder, "fmost").n_damaged == 0


def test_whole_shards_without_a_checksum_are_read(project: Project, encoder) -> None:
    index_project(project, encoder)
    forget_checksum(shard(project, encoder))
    assert count_embedded(Project.open(project.path), encoder) == IndexCount(N_ALL, N_ALL)


def test_another_process_sees_a_shard_that_was_made_anew(project: Project, encoder) -> None:
    index_project(project, encoder)
    names = shard(project, encoder)
    truncate(names)
    watching, working = Project.open(project.path), Project.open(project.path)
    assert len(load_gallery(watching, encoder, "fmost")) == 0
    index_project(working, encoder)
    assert shard(project, encoder) == names  # of the same name, and yet another file
    assert len(load_gallery(watching, encoder, "fmost")) == N_FMOST


def test_two_models_are_kept_in_memory_side_by_side(project: Project, encoder) -> None:
    other = type(encoder)("ba9876543210")
    for model in (encoder, other):
        index_project(project, model)
    first, second = (load_gallery(project, model, "fmost") for model in (encoder, other))
    assert load_gallery(project, encoder, "fmost") is first
    assert load_gallery(project, other, "fmost") is second
