import pytest
import torch

from napari_neurobridge.simulation.keyed import Key
from napari_neurobridge.simulation.neurons.branches import (
    BranchTexture,
    Buds,
    Room,
    Run,
    bifurcate,
    grow,
)

N_BRANCHES = 2000


def make_buds() -> Buds:
    row = torch.arange(N_BRANCHES)
    heading = torch.nn.functional.normalize(Key.of(1).normal(row, 3), dim=1)
    return Buds(
        row=row,
        word=Key.of(2).bits(row),
        kind=torch.zeros_like(row),
        start_um=5 * heading,
        heading=heading,
        radius_um=torch.full((N_BRANCHES,), 0.6),
        parent=torch.full_like(row, -1),
    )


def make_run(
    wander: float = 0.06, roughness: float = 0.2, reach_um: float = 500.0, ceiling_um: float = 500.0
) -> Run:
    return grow(
        make_buds(),
        torch.full((N_BRANCHES,), 60.0),
        50,
        Room(reach_um, torch.full((N_BRANCHES,), ceiling_um)),
        Key.of(3),
        texture=BranchTexture(wander, roughness),
        taper=0.5,
        first_node=7,
    )


def test_branches_without_wander_are_straight_lines():
    run = make_run(wander=0.0, roughness=0.0)
    along = torch.arange(1, 51) * 60 / 50 + 5
    expected = run.buds.heading[:, :, None] * along
    torch.testing.assert_close(run.course_um, expected, atol=1e-3, rtol=0)
    torch.testing.assert_close(run.distance_um, along.expand(N_BRANCHES, -1), atol=1e-3, rtol=0)
    torch.testing.assert_close(run.heading, run.buds.heading, atol=1e-5, rtol=0)
    assert run.radius_um[:, 0].mean() == pytest.approx(0.6)
    assert run.radius_um[:, -1].mean() == pytest.approx(0.3)


def test_branches_have_their_length_and_turn_as_stated():
    run = make_run()
    step = run.course_um.diff(dim=2).norm(dim=1)
    torch.testing.assert_close(step, torch.full_like(step, 60 / 50), atol=1e-3, rtol=0)
    # Two components of the wander turn the heading: 2 · 50 · 0.06², and less as it saturates.
    turned = torch.acos((run.heading * run.buds.heading).sum(dim=1).clamp(-1, 1))
    assert turned.square().mean().sqrt() == pytest.approx((2 * 50) ** 0.5 * 0.06, rel=0.15)


def test_radii_vary_as_stated():
    run = make_run(roughness=0.1)
    smooth = make_run(roughness=0.0)
    ratio = run.radius_um / smooth.radius_um
    assert ratio.std() == pytest.approx(0.1, rel=0.02)
    assert ratio.mean() == pytest.approx(1, rel=0.01)


def test_branches_stay_in_their_room():
    run = make_run(reach_um=40.0, ceiling_um=10.0)
    assert run.course_um.norm(dim=1).max() <= 40.001
    assert run.course_um[:, 0].min() >= -10.001
    assert run.distance_um.max() <= 40
    # What would end above the surface ends below it, and leads the other way.
    free = make_run()
    outside = free.course_um[:, 0, -1] < -10
    mirrored = make_run(ceiling_um=10.0)
    assert outside.any()
    sign = torch.where(outside, -1, 1)
    torch.testing.assert_close(mirrored.heading[:, 0], sign * free.heading[:, 0])
    torch.testing.assert_close(mirrored.heading[:, 1:], free.heading[:, 1:])


def test_daughters_leave_on_opposite_sides_at_the_stated_angles():
    run = make_run()
    buds = bifurcate(run, Key.of(4), slant=(0.3, 0.6), thinning=0.75)
    assert len(buds) == 2 * N_BRANCHES
    left, right = buds.heading.view(2, N_BRANCHES, 3)
    for heading in (left, right):
        torch.testing.assert_close(heading.norm(dim=1), torch.ones(N_BRANCHES), atol=1e-5, rtol=0)
        cosine = (heading * run.heading).sum(dim=1)
        sine = torch.sqrt(1 - cosine.square())
        assert (sine > 0.299).all()
        assert (sine < 0.601).all()
    away = (left - (left * run.heading).sum(1, keepdim=True) * run.heading) * (
        right - (right * run.heading).sum(1, keepdim=True) * run.heading
    )
    assert (away.sum(dim=1) < 0).all()
    assert buds.radius_um.mean() == pytest.approx(0.45)
    assert len(buds.word.unique()) == 2 * N_BRANCHES
    torch.testing.assert_close(buds.start_um[:N_BRANCHES], run.course_um[:, :, -1])
    assert buds.parent[:3].tolist() == [7 + 49, 7 + 99, 7 + 149]


def test_no_buds_make_no_branches():
    none = make_buds().at(torch.zeros(0, dtype=torch.int64))
    run = grow(
        none,
        torch.zeros(0),
        50,
        Room(100.0, torch.zeros(0)),
        Key.of(3),
        texture=BranchTexture(0.06, 0.2),
        taper=0.5,
        first_node=0,
    )
    assert run.end == 0
    assert len(bifurcate(run, Key.of(4), slant=(0.3, 0.6), thinning=0.75)) == 0
