import numpy as np
import pytest

from napari_neurobridge.errors import ErrorKind, InputError
from napari_neurobridge.io.morphology import MAX_NODES, read_swc, read_swc_folder, sum_to_root

# A soma, a basal dendrite that forks, an apical dendrite, an axon; children before parents.
NEURON = """# made for a test
7 2 0 -5 0 0.2 1
4 3 30 10 0 0.4 2
1 1 0 0 0 6.5 -1

5 3 30 -10 0 0.4 2
2 3 20 0 0 0.5 1
3 4 0 0 50 0.9 1
"""


@pytest.fixture
def write(tmp_path):
    def write(text, name="neuron.swc"):
        path = tmp_path / name
        path.write_text(text)
        return path

    return write


def chain(n_nodes):
    """Return the lines of a straight axon whose nodes come last first."""
    lines = [f"{i} 2 {i} 0 0 0.3 {i - 1}" for i in range(n_nodes, 1, -1)]
    return "\n".join([*lines, "1 1 0 0 0 5 -1"])


def test_nodes_of_any_order_become_a_tree_in_zyx(write):
    neuron = read_swc(write(NEURON))
    assert neuron.id.tolist()[0] == 1
    assert neuron.parent[0] == -1
    assert (neuron.parent[1:] < np.arange(1, 6)).all()
    row = {int(node): place for place, node in enumerate(neuron.id)}
    assert neuron.parent[row[4]] == neuron.parent[row[5]] == row[2]
    assert neuron.position_um[row[4]].tolist() == [0, 10, 30]
    assert neuron.position_um[row[3]].tolist() == [50, 0, 0]
    assert neuron.radius_um[row[1]] == 6.5
    assert neuron.type[row[7]] == 2
    assert neuron.edge_um[row[4]] == pytest.approx(np.hypot(10, 10))
    assert neuron.has_radii


def test_units_scale_places_and_radii(write):
    neuron = read_swc(write(NEURON), um_per_unit=2.5)
    assert neuron.position_um.max() == 125
    assert neuron.radius_um.max() == pytest.approx(6.5 * 2.5)


@pytest.mark.parametrize("radius", ["0", "1.0"])
def test_placeholder_radii_become_usual_ones(write, radius):
    lines = [
        " ".join([*line.split()[:5], radius, line.split()[6]])
        for line in NEURON.splitlines()
        if line[:1].isdigit()
    ]
    neuron = read_swc(write("\n".join(lines)), um_per_unit=25)
    assert not neuron.has_radii
    assert ((neuron.radius_um > 0.1) & (neuron.radius_um < 1.5)).all()
    assert neuron.radius_um[neuron.type == 2] < neuron.radius_um[neuron.type == 4]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1 1 0 0 0 5 -1\n2 3 1 0 0 1 3\n3 3 2 0 0 1 2", "circle"),
        ("1 1 0 0 0 5 2\n2 3 1 0 0 1 1", "no root"),
        ("1 1 0 0 0 5 -1\n2 1 9 0 0 5 -1\n3 3 1 0 0 1 1", "2 roots"),
        ("1 1 0 0 0 5 -1\n2 3 1 0 0 0 1\n3 3 1 0 0 1 1", "node 2 has the radius 0"),
        ("1 1 0 0 0 5 -1\n2 3 1 0 0 -1 1", "node 2 has a negative radius"),
        ("1 1 0 0 0 5 -1\n2 3 1 0 0 1 8", "parent 8"),
        ("1 1 0 0 0 5 -1\n2 3 nan 0 0 1 1", "node 2 holds"),
        ("1 1 0 0 0 5 -1\n2 3 1 0 inf 1 1", "node 2 holds"),
        ("1 1 0 0 0 5 -1\n2 3 one 0 0 1 1", "no SWC file"),
        ("1 1 0 0 0 5 -1\n2 3 1 0 0 1", "no SWC file"),
        ("1 1 0 0 0 5 -1\n1 3 1 0 0 1 1", "node 1 twice"),
        ("1 1 0 0 0 5 -1\n2.5 3 1 0 0 1 1", "whole numbers"),
        ("1 3 0 0 0 5 -1\n2 3 1 0 0 1 1", "no soma"),
        ("# only a comment\n", "holds no node"),
        ("", "holds no node"),
    ],
)
def test_bad_files_are_refused_with_the_reason(write, text, message):
    with pytest.raises(InputError, match=message) as caught:
        read_swc(write(text))
    assert "neuron.swc" in str(caught.value)


def test_a_million_nodes_are_refused(write):
    with pytest.raises(InputError, match="500,000 nodes"):
        read_swc(write("1 2 0 0 0 1 -1\n" * 1_000_000))


def test_a_chain_of_many_nodes_is_read(write):
    neuron = read_swc(write(chain(100_000)))
    assert neuron.position_um[:, 2].tolist() == [0, *range(2, 100_001)]
    assert sum_to_root(neuron.parent, neuron.edge_um).max() == pytest.approx(100_000)
    assert MAX_NODES >= 100_000


def test_what_is_no_text_or_no_file_is_refused(tmp_path):
    with pytest.raises(InputError, match="no file"):
        read_swc(tmp_path / "absent.swc")
    (tmp_path / "picture.swc").write_bytes(b"\x89PNG\xff\xfe")
    with pytest.raises(InputError, match="no SWC file"):
        read_swc(tmp_path / "picture.swc")
    with pytest.raises(InputError, match="no SWC file"):
        read_swc(tmp_path)


@pytest.mark.parametrize("unit", [0.0, -1.0, float("nan")])
def test_units_must_be_lengths(write, unit):
    with pytest.raises(InputError, match="unit"):
        read_swc(write(NEURON), um_per_unit=unit)


def test_keep_drops_what_hangs_on_dropped_nodes(write):
    neuron = read_swc(write(NEURON))
    kept = neuron.keep(neuron.id != 2)
    assert sorted(kept.id.tolist()) == [1, 3, 7]
    assert kept.parent.tolist() == [-1, 0, 0]


def test_sums_to_the_root_equal_a_walk():
    rng = np.random.default_rng(0)
    parent = np.array([-1, *(rng.integers(0, row) for row in range(1, 300))])
    order = rng.permutation(300)
    place = np.argsort(order)
    shuffled = np.where(parent[order] < 0, -1, place[parent[order]])
    weight = rng.random(300)

    def walk(row):
        return 0.0 if row < 0 else weight[row] + walk(shuffled[row])

    expected = [walk(row) for row in range(300)]
    np.testing.assert_allclose(sum_to_root(shuffled, weight), expected, rtol=1e-12)


def test_a_folder_is_read_by_name(write, tmp_path):
    write(NEURON, "b.SWC")
    write(NEURON, "a.swc")
    write("not read", "notes.txt")
    assert [neuron.name for neuron in read_swc_folder(tmp_path, um_per_unit=2)] == [
        "a.swc",
        "b.SWC",
    ]


@pytest.mark.parametrize(
    ("unit", "fact"), [(0.04, "looks like voxels"), (100, "its unit is another one")]
)
def test_a_folder_in_another_unit_is_refused(write, tmp_path, unit, fact):
    write(NEURON)
    with pytest.raises(InputError, match=fact) as refused:
        read_swc_folder(tmp_path, um_per_unit=unit)
    assert refused.value.kind is ErrorKind.UNKNOWN_UNIT


def test_folders_without_neurons_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"no \.swc file"):
        read_swc_folder(tmp_path)
    with pytest.raises(InputError, match="no folder"):
        read_swc_folder(tmp_path / "absent")


@pytest.mark.real_data
def test_real_files_are_read_and_their_unit_is_asked_for(shared_data, tmp_path):
    source = shared_data / "morphologies"
    for path in sorted(source.glob("fig4_*.swc")):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    neurons = read_swc_folder(tmp_path, um_per_unit=25)
    assert len(neurons) == 20
    for neuron in neurons:
        folder = tmp_path / neuron.name.removesuffix(".swc")
        folder.mkdir()
        (tmp_path / neuron.name).rename(folder / neuron.name)
        with pytest.raises(InputError, match="voxels"):
            read_swc_folder(folder)


@pytest.mark.real_data
def test_real_files_of_other_kinds(shared_data):
    folder = shared_data / "morphologies"
    bouton = read_swc(next(folder.glob("bouton_*.swc")), um_per_unit=25)
    assert not bouton.has_radii
    assert len(bouton) == 48524
    motif = read_swc(folder / "motif__18455_00011.swc")
    assert np.ptp(motif.position_um, axis=0) == pytest.approx((995.2, 1559.1, 2273.9), abs=0.1)
    with pytest.raises(InputError, match="no soma"):
        read_swc(next(folder.glob("microenviron_*.swc")))
