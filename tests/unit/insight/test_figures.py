import numpy as np
import pytest

from napari_neurobridge.errors import InputError
from napari_neurobridge.insight import figures
from napari_neurobridge.insight.attention import AttentionMaps


def similarity(n=12, seed=0):
    matrix = np.random.default_rng(seed).normal(0, 0.2, (n, n))
    return matrix + np.eye(n)


def texts(figure):
    """Return all words of a figure."""
    found = [figure.get_suptitle()]
    for ax in figure.axes:
        found += [ax.get_title(), ax.get_xlabel(), ax.get_ylabel()]
        found += [text.get_text() for text in ax.texts]
        legend = ax.get_legend()
        found += [text.get_text() for text in legend.get_texts()] if legend else []
    for legend in figure.legends:
        found += [text.get_text() for text in legend.get_texts()]
    return "\n".join(found)


def blank_maps(pixels=20):
    zeros = np.zeros((pixels, pixels), np.float32)
    gate = np.array([0.25, 0.75], np.float32)
    return AttentionMaps(zeros, zeros, zeros, zeros, gate, gate, similarity=0.5, window=8)


def best_matches():
    crop = np.full((20, 20), 0.5, np.float32)
    matches = tuple(figures.MatchCrop(crop, rank, 0.5, rank == 2) for rank in (1, 2))
    return figures.QueryMatches(crop, matches, "tp-00001")


def test_a_grid_of_matches_needs_some():
    empty = figures.QueryMatches(np.zeros((20, 20), np.float32), ())
    for queries in ([], [best_matches(), empty]):
        with pytest.raises(InputError, match="at least one candidate"):
            figures.best_matches_figure(queries)


def every_figure(theme=figures.LIGHT):
    samples = {"model": figures.split_similarities(similarity()), "ssim": ([1.0], [0.0, 0.1])}
    crop = np.full((20, 20), 0.5)
    xy = np.random.default_rng(0).normal(size=(2, 5, 2))
    return {
        "top_k": figures.top_k_curves({"model": [0.5, 0.75, 1.0]}, n=4, theme=theme),
        "confusion": figures.confusion_figure(9, 2, 1, 38, theme=theme),
        "heat_maps": figures.similarity_heatmaps({"model": similarity()}, theme=theme),
        "densities": figures.similarity_densities(samples, theme=theme),
        "boxes": figures.similarity_boxes(samples, theme=theme),
        "map": figures.embedding_figure(*xy, theme=theme),
        "attention": figures.attention_figure(crop, crop, blank_maps(), theme=theme),
        "best_matches": figures.best_matches_figure([best_matches()], theme=theme),
        "certificate": figures.certificate_figure(
            "At most 2 % wrong.", [("drawn", "149 of 2,055")], "An eye on crops.", theme=theme
        ),
        "training": figures.training_curve([1, 2], [3.0, 2.0], theme=theme),
    }


@pytest.mark.parametrize("theme", [figures.LIGHT, figures.DARK], ids=["light", "dark"])
def test_every_figure_is_drawn_in_every_theme(theme, tmp_path):
    from matplotlib.colors import to_rgba
    from matplotlib.image import imread

    for name, figure in every_figure(theme).items():
        path = figures.save_figure(figure, tmp_path / f"{name}.png", dpi=100)
        pixels = imread(path)
        assert pixels.shape[1] == 600, name
        np.testing.assert_allclose(pixels[0, 0], to_rgba(theme.paper), atol=0.01)


def test_no_figure_touches_pyplot():
    from matplotlib import _pylab_helpers

    before = len(_pylab_helpers.Gcf.figs)
    every_figure()
    assert len(_pylab_helpers.Gcf.figs) == before


def test_figures_of_one_pair_are_drawn():
    figures.top_k_curves({"model": [1.0]}).canvas.draw()
    figures.similarity_heatmaps({"model": [[0.3]]}).canvas.draw()
    figures.embedding_figure([[0, 0]], [[0, 0]]).canvas.draw()


def test_top_k_curves_hold_the_values_and_say_how_many():
    figure = figures.top_k_curves({"one": [0.25, 0.5], "nmi": [0.0, 1.0]}, n=8)
    first, second, chance = figure.axes[0].lines
    np.testing.assert_allclose(first.get_xydata(), [[1, 25], [2, 50]])
    np.testing.assert_allclose(second.get_ydata(), [0, 100])
    np.testing.assert_allclose(chance.get_ydata(), [50, 100])
    words = texts(figure)
    assert "8 queries" in words
    assert "one (25 % first, 7 to 60 %)" in words
    assert "NMI (0 % first, 0 to 33 %)" in words


def test_many_curves_differ_in_colour_or_dashes():
    lines = figures.top_k_curves({str(i): [0.1 * i, 1] for i in range(10)}).axes[0].lines[:10]
    assert len({(line.get_color(), line.get_linestyle()) for line in lines}) == 10


@pytest.mark.parametrize("curves", [{}, {"a": []}, {"a": [0.2, 1.2]}, {"a": [np.nan]}])
def test_curves_that_are_none_are_refused(curves):
    with pytest.raises(InputError, match="between 0 and 1"):
        figures.top_k_curves(curves)


def test_confusion_counts_are_where_they_belong():
    figure = figures.confusion_figure(
        45, 10, 5, 190, intervals={"recall": (0.8, 0.97), "auc": (0.9, 1.0)}
    )
    (ax,) = figure.axes
    cells = {text.get_position(): text.get_text() for text in ax.texts}
    assert cells[(0, 0)].startswith("45\n90.0 %")  # same neuron, called same
    assert cells[(1, 0)].startswith("5\n")  # same neuron, called different
    assert cells[(0, 1)].startswith("10\n")  # different neurons, called same
    assert cells[(1, 1)].startswith("190\n95.0 %")
    words = texts(figure)
    assert "recall 0.900 (0.80 to 0.97)" in words
    assert "specificity 0.950" in words
    assert "50 same, 200 different" in words


@pytest.mark.parametrize("counts", [(0, 0, 0, 0), (1, -1, 0, 0)])
def test_impossible_counts_are_refused(counts):
    with pytest.raises(InputError, match="counts"):
        figures.confusion_figure(*counts)


def test_split_takes_the_diagonal_and_wrong_pairs_of_one_scene_only():
    matrix = np.arange(16.0).reshape(4, 4)
    same, different = figures.split_similarities(matrix)
    assert same.tolist() == [0, 5, 10, 15]
    assert len(different) == 12
    _, within = figures.split_similarities(matrix, np.array([0, 0, 1, 1]))
    assert sorted(within) == [1, 4, 11, 14]


def test_heat_maps_show_each_matrix_on_a_scale_of_its_own():
    small, large = similarity(), 100 * similarity(seed=1)
    figure = figures.similarity_heatmaps({"model": small, "mse": large})
    images = [image for ax in figure.axes for image in ax.get_images()]
    np.testing.assert_array_equal(images[0].get_array(), small)
    np.testing.assert_array_equal(images[1].get_array(), large)
    assert images[1].get_clim()[1] > 50 > images[0].get_clim()[1]
    assert "12 pairs" in texts(figure)


@pytest.mark.parametrize(
    "matrix", [np.zeros((2, 3)), np.zeros((0, 0)), np.full((2, 2), np.nan)], ids=str
)
def test_matrices_that_are_none_are_refused(matrix):
    with pytest.raises(InputError, match="similarity matrix"):
        figures.similarity_heatmaps({"model": matrix})


def test_densities_have_area_one_and_say_how_well_they_part():
    same, different = [0.8, 0.9, 1.0], [0.1, 0.2, 0.3, 0.85]
    figure = figures.similarity_densities({"model": (same, different)}, thresholds={"model": 0.5})
    for line in figure.axes[0].lines[:2]:
        x, y = line.get_xydata().T
        assert 0.5 < np.trapezoid(y, x) < 1.05
    assert figure.axes[0].lines[2].get_xdata()[0] == 0.5
    # Of twelve comparisons, the same pair wins all but 0.8 against 0.85.
    assert f"AUC {11 / 12:.3f}" in texts(figure)
    assert "3 same pairs, 4 different pairs" in texts(figure)


def test_boxes_are_in_spreads_of_different_neurons():
    different = np.array([-1.0, 1.0, -1.0, 1.0])
    figure = figures.similarity_boxes({"model": (10 + 3 * different, 10 + different)})
    medians = [line.get_xdata()[0] for line in figure.axes[0].lines[4:5]]
    assert medians == [pytest.approx(0)]
    reach = [line.get_xdata() for line in figure.axes[0].lines]
    assert max(np.max(x) for x in reach) == pytest.approx(3, abs=0.5)


def test_samples_without_a_wrong_pair_are_refused():
    with pytest.raises(InputError, match="at least two pairs"):
        figures.similarity_boxes({"model": ([0.5], [])})


def test_map_has_filled_and_hollow_points_joined_pair_by_pair():
    first, second = np.array([[0.0, 0], [1, 1]]), np.array([[0.0, 1], [2, 1]])
    (ax,) = figures.embedding_figure(first, second, labels=("a", "b"), selected=1).axes
    points = {item.get_gid(): item for item in ax.collections if item.get_gid()}
    np.testing.assert_array_equal(points["two_photon"].get_offsets(), first)
    np.testing.assert_array_equal(points["fmost"].get_offsets(), second)
    assert points["two_photon"].get_picker()
    hollow, filled = points["fmost"].get_facecolor(), points["two_photon"].get_facecolor()
    assert (hollow == 1).all()
    assert not (filled[:, :3] == 1).all()
    lines = ax.collections[0].get_segments()
    np.testing.assert_array_equal(lines[1], [[1, 1], [2, 1]])


def test_map_of_sides_that_differ_is_refused():
    with pytest.raises(InputError, match="as many"):
        figures.embedding_figure(np.zeros((3, 2)), np.zeros((2, 2)))


def test_training_curve_marks_the_best_validation():
    figure = figures.training_curve(
        [10, 20, 30],
        [3, 2, 1],
        validation_steps=[10, 20, 30],
        validation_scores=[0.5, 0.9, 0.7],
        score_name="reciprocal rank",
    )
    assert "best reciprocal rank 0.900 at step 20" in texts(figure)
    with pytest.raises(InputError, match="one loss for each step"):
        figures.training_curve([1, 2], [1.0])
    with pytest.raises(InputError, match="one validation score"):
        figures.training_curve([1], [1.0], validation_steps=[1], validation_scores=[])


def test_attention_figure_shows_gate_and_window():
    crop = np.zeros((20, 20))
    figure = figures.attention_figure(crop, crop, blank_maps(), names=("tp-1", "fm-1"))
    words = texts(figure)
    assert "local\n0.25" in words
    assert "global\n0.75" in words
    assert "similarity 0.50" in words
    (frame,) = figure.axes[1].patches
    assert (frame.get_x(), frame.get_width()) == (5.5, 8)
    with pytest.raises(InputError, match="differ in size"):
        figures.attention_figure(np.zeros((9, 9)), np.zeros((9, 9)), blank_maps())
