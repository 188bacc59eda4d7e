"""Sections cut into tiles: what is in the pool, what is held out, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile
from scipy import ndimage

from fixtures.patchworks import patchwork, patchwork_tiles
from napari_neurobridge.active.tiles import ImageSet, cut_tiles, read_tiles
from napari_neurobridge.detection.planes import plane_scales, standardised
from napari_neurobridge.errors import InputError


def cut(shape, **changes):
    wanted = np.zeros(shape, dtype=bool)
    wanted[:, 0] = True
    settings = {"pool": [0], "test": [1], "tile_px": 8, "multiple": 4} | changes
    known = settings.pop("known", np.ones(shape, dtype=bool))
    return cut_tiles(np.zeros(shape, dtype=np.float32), wanted, known, **settings)


def test_tiles_lie_side_by_side_and_held_out_sections_are_apart():
    tiles = cut((3, 17, 24), pool=[0, 2])
    assert tiles.size == (8, 8)
    covered = np.zeros((3, 17, 24), dtype=int)
    for z, y, x in (*tiles.pool, *tiles.test):
        covered[z, y : y + 8, x : x + 8] += 1
    assert covered[:, :16].min() == covered.max() == 1
    assert not covered[:, 16].any()
    assert {z for z, _, _ in tiles.test} == {1}


def test_tiles_shrink_to_small_sections_in_whole_steps_of_the_network():
    assert cut((2, 15, 250), tile_px=256).size == (12, 248)


def test_a_tile_is_seen_as_its_own_plane():
    tiles = patchwork_tiles(0)
    seen = tiles.seen(tiles.pool[:3])
    image = tiles.image(tiles.pool[2])[None]
    assert seen.shape == (3, 1, *tiles.size)
    np.testing.assert_array_equal(seen[2, 0], standardised(image, plane_scales(image))[0])


def test_true_cells_are_connected_within_a_tile():
    tiles = patchwork_tiles(0)
    corner = tiles.test[1]
    truth = tiles.truth(corner, boundaries=True)
    expected, count = ndimage.label(~tiles.labels(corner).wanted)
    np.testing.assert_array_equal(truth, expected)
    assert count > 4


def test_files_are_read_and_what_nobody_labelled_is_not_known(patchwork_files):
    folder = patchwork_files()
    labels = tifffile.imread(folder / "labels.tif")
    labels[0, :48, :48] = 7
    tifffile.imwrite(folder / "labels.tif", labels, metadata={"axes": "ZYX"})
    found = ImageSet(
        images=folder / "images.tif",
        labels=folder / "labels.tif",
        positive=(0,),
        unlabelled=(7,),
        test=(5,),
        left_out=(4,),
    )
    tiles = read_tiles(found, tile_px=48, multiple=4)
    images, lines = patchwork(2)
    np.testing.assert_array_equal(tiles.sections, images)
    np.testing.assert_array_equal(tiles.wanted[1:], lines[1:])
    assert {z for z, _, _ in tiles.pool} == {0, 1, 2, 3}
    assert tiles.annotate([1])[0].known.all()
    with pytest.raises(InputError) as error:
        tiles.annotate([1, 0])
    assert str(error.value) == (
        "Label these tiles, and run again: section 0, rows 0 to 47, columns 0 to 47."
    )


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"test": [2]}, "There is no section 2; there are 2, from 0 on."),
        ({"tile_px": 3}, "too small for tiles of 4 pixels"),
        ({"known": np.arange(2)[:, None, None] + np.zeros((2, 9, 9)) < -1}, None),
    ],
)
def test_what_cannot_be_cut_is_refused(changes, words):
    if words is None:
        assert cut((2, 9, 9), **changes).pool
        return
    with pytest.raises(InputError, match=words):
        cut((2, 9, 9), **changes)


def test_labels_of_one_class_are_refused():
    known = np.zeros((2, 9, 9), dtype=bool)
    known[:, 1:] = True
    with pytest.raises(InputError, match="The labels are of one class"):
        cut((2, 9, 9), known=known)


def test_labels_of_another_shape_are_refused(patchwork_files, tmp_path):
    folder = patchwork_files()
    tifffile.imwrite(
        tmp_path / "labels.tif", np.zeros((6, 8, 8), np.uint8), metadata={"axes": "ZYX"}
    )
    found = ImageSet(
        images=folder / "images.tif", labels=tmp_path / "labels.tif", positive=(0,), test=(5,)
    )
    with pytest.raises(InputError, match="do not fit images of shape"):
        read_tiles(found, tile_px=48, multiple=4)


def test_digest_tells_labels_apart():
    first, second = patchwork_tiles(0), patchwork_tiles(0)
    assert first.digest == second.digest
    second.wanted[0, 0, 0] ^= True
    assert patchwork_tiles(1).digest != first.digest != cut((2, 9, 9)).digest
