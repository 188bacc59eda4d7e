import pytest

from napari_neurobridge.io.files import atomic_folder, atomic_write


def test_file_appears_only_at_the_end(tmp_path):
    target = tmp_path / "deep" / "table.csv"
    with atomic_write(target) as temporary:
        temporary.write_text("new")
        assert temporary.parent == target.parent
        assert temporary.suffix == ".csv"
        assert not target.exists()
    assert target.read_text() == "new"
    assert list(target.parent.iterdir()) == [target]


def test_failure_keeps_the_old_file_and_leaves_nothing(tmp_path):
    target = tmp_path / "table.csv"
    target.write_text("old")
    with pytest.raises(RuntimeError), atomic_write(target) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_folder_replaces_a_full_one(tmp_path):
    target = tmp_path / "image.zarr"
    target.mkdir()
    (target / "old").write_text("")
    with atomic_folder(target) as temporary:
        (temporary / "new").write_text("")
        assert (target / "old").exists()
    assert [path.name for path in target.iterdir()] == ["new"]
    assert list(tmp_path.iterdir()) == [target]


def test_folder_failure_keeps_the_old_one(tmp_path):
    target = tmp_path / "image.zarr"
    target.mkdir()
    (target / "old").write_text("")
    with pytest.raises(RuntimeError), atomic_folder(target) as temporary:
        (temporary / "new").write_text("")
        raise RuntimeError
    assert [path.name for path in target.iterdir()] == ["old"]
    assert list(tmp_path.iterdir()) == [target]
