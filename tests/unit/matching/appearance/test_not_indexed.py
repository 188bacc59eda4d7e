"""One missing embedding costs one cell: it is judged by place only, and the others as before."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial import cKDTree

from fixtures.points import PointsWorld
from fixtures.projects import ThumbnailEncoder
from napari_neurobridge.errors import InputError
from napari_neurobridge.matching.appearance.gallery import load_gallery
from napari_neurobridge.matching.appearance.likelihood import COHORT
from napari_neurobridge.matching.appearance.search import lacks_few
from napari_neurobridge.matching.appearance.shards import gallery_folder, list_shards, write_shard
from napari_neurobridge.matching.match import Match
from napari_neurobridge.matching.match_datasets import match_datasets
from napari_neurobridge.project.folder import Project
from napari_neurobridge.project.log import annotate
from napari_neurobridge.types import SomaSource
from napari_neurobridge.workflows.match import Claims

Embed = Callable[[Project, frozenset[str]], None]


@pytest.fixture
def embed(points_world: PointsWorld) -> Embed:
    """A function that indexes a project of points, without some: partners look alike."""
    encoder = ThumbnailEncoder()
    look: dict[str, np.ndarray] = {}
    rng = np.random.default_rng(2)

    def vector(uid: str) -> np.ndarray:
        if uid not in look:
            noise = rng.normal(size=encoder.dim)
            partner = points_world.partners.get(uid)
            look[uid] = noise if partner is None else vector(partner) + 0.7 * noise
        return look[uid]

    def write(project: Project, without: frozenset[str] = frozenset()) -> None:
        for dataset, somata in project.state().somata.items():
            chosen = [soma for uid, soma in sorted(somata.items()) if uid not in without]
            if not chosen:
                continue
            vectors = np.array([vector(soma.uid) for soma in chosen])
            vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
            folder = gallery_folder(project, encoder, dataset)
            for shard in list_shards(folder):
                shard.unlink()
            write_shard(folder, chosen, vectors.astype(np.float32))

    return write


@pytest.fixture
def project(points_world: PointsWorld, tmp_path: Path) -> Project:
    return points_world.project(tmp_path / "p.neurobridge", 6)


def matched(project: Project) -> Match:
    return match_datasets(project, ThumbnailEncoder())


def ratios(match: Match) -> np.ndarray:
    assert match.appearance is not None
    queries = np.arange(len(match.queries))
    rows = np.broadcast_to(np.arange(len(match.gallery)), (len(queries), len(match.gallery)))
    # The fit to the accepted pairs is another matter.
    margins = match.appearance.margins(queries, rows)
    return np.nan_to_num(margins, nan=0.0)


def touched(centers_um: np.ndarray, row: int) -> set[int]:
    """Rows that are compared with a soma: itself, and whoever has it among its nearest."""
    near = cKDTree(centers_um).query(centers_um, k=COHORT + 1)[1]
    return {other for other in range(len(centers_um)) if row in near[other]}


def test_without_one_embedding_only_what_depends_on_it_changes(project, embed) -> None:
    embed(project)
    before = matched(project)
    gone = before.gallery.uids[37]
    embed(project, frozenset({gone}))
    after = matched(project)
    assert after.not_indexed == {gone}
    old, new = ratios(before), ratios(after)
    changed = set(np.flatnonzero((old != new).any(axis=0)).tolist())
    assert 37 in changed
    assert changed <= touched(after.gallery.centers_um, 37)
    assert (new[:, 37] == 0).all()
    assert np.ptp(old[:, 37]) > 0


def test_a_query_without_embedding_has_no_ratio_at_all(project, embed) -> None:
    embed(project)
    whole = matched(project)
    gone = whole.queries.uids[11]
    embed(project, frozenset({gone}))
    match = matched(project)
    assert match.appearance is not None
    everybody = np.arange(len(match.gallery))[None, :]
    assert (match.appearance.log_ratio(np.array([11]), everybody) == 0).all()
    rows = np.array(sorted(set(range(len(match.queries))) - touched(match.queries.centers_um, 11)))
    np.testing.assert_array_equal(ratios(match)[rows], ratios(whole)[rows])


def test_the_claims_do_not_collapse_with_one_cell(project, embed) -> None:
    embed(project)
    whole = Claims.of(matched(project), 0.05)
    (new,) = annotate.add_somata(
        project, "fmost", [(950.0, 320.0, 60.0)], source=SomaSource.MANUAL, annotator="me"
    )
    match = matched(project)
    assert match.not_indexed == {new.uid}
    assert match.notes[-1] == "1 cell not indexed: judged by place only."
    claims = Claims.of(match, 0.05)
    assert abs(len(claims.pairs) - len(whole.pairs)) <= 1
    by_place = Claims.of(match_datasets(project), 0.05)
    assert claims.expected_false < 0.1 * by_place.expected_false


def test_a_refit_takes_up_what_has_been_indexed_since(project, embed) -> None:
    gone = frozenset({"f037", "t011"})
    embed(project, gone)
    first = matched(project)
    assert first.not_indexed == gone
    assert "2 cells not indexed: judged by place only." in first.notes
    embed(project)
    again = match_datasets(project, ThumbnailEncoder(), start=first)
    assert again.not_indexed == frozenset()
    assert again.notes == ()
    np.testing.assert_array_equal(ratios(again), ratios(matched(project)))


def test_with_one_side_not_indexed_at_all_crops_say_nothing(project, embed) -> None:
    embed(project, frozenset(project.state().somata["fmost"]))
    match = matched(project)
    assert match.appearance is None
    assert match.not_indexed == frozenset()
    assert not any("not indexed" in note for note in match.notes)


def test_embeddings_are_given_in_the_order_of_the_somata(project, embed) -> None:
    embed(project, frozenset({"f003"}))
    gallery = load_gallery(project, ThumbnailEncoder(), "fmost")
    found = gallery.embeddings_of(["f004", "f003", "f000"])
    np.testing.assert_array_equal(found[0], gallery.embeddings[gallery.row("f004")])
    np.testing.assert_array_equal(found[2], gallery.embeddings[gallery.row("f000")])
    assert not found[1].any()
    assert gallery.missing(["f004", "f003"]) == {"f003"}


@pytest.mark.parametrize(
    ("n_embedded", "n_somata", "enough"),
    [(0, 0, False), (0, 1, False), (1, 2, True), (1, 3, False), (95, 100, True), (94, 100, False)],
)
def test_a_few_may_be_missing(n_embedded: int, n_somata: int, enough: bool) -> None:
    assert lacks_few(n_embedded, n_somata) is enough


def test_a_ranking_by_looks_alone_leaves_out_a_few_and_says_so(project, embed) -> None:
    gallery = load_gallery(project, ThumbnailEncoder(), "fmost")
    with pytest.raises(InputError, match="600 of 600 somata"):
        gallery.require_most()
    assert gallery.note.startswith("Not listed: 600 of 600 somata of 'fmost'")
    embed(project, frozenset({"f003", "f004"}))
    gallery = load_gallery(project, ThumbnailEncoder(), "fmost")
    gallery.require_most()
    assert gallery.note == "Not listed: 2 of 600 somata of 'fmost', not indexed."
    embed(project)
    assert load_gallery(project, ThumbnailEncoder(), "fmost").note == ""
