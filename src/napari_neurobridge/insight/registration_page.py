"""The quality page of a registration: both planes, the matches, the evidence, the decision."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from napari_neurobridge import __version__
from napari_neurobridge.insight.figures.pair import Picture, pair_figure
from napari_neurobridge.insight.figures.plane_registration import (
    CoverageCells,
    checkerboard,
    coverage_figure,
    magenta_green,
    residual_histogram,
)
from napari_neurobridge.insight.report_page import (
    Section,
    facts,
    page,
    paragraph,
    picture,
    table,
)
from napari_neurobridge.io.crops import normalize_crops
from napari_neurobridge.io.files import atomic_write
from napari_neurobridge.registration.measuring import CoverageGrid, cells_within
from napari_neurobridge.registration.plane_warp import warp_plane
from napari_neurobridge.registration.quality import AcceptanceCriteria, Evidence

if TYPE_CHECKING:
    from pathlib import Path

    from napari_neurobridge.registration.image_registration import PlaneRegistration
    from napari_neurobridge.registration.keypoints import PlanarImage
    from napari_neurobridge.registration.plane_fit import PlaneFit

_MOST_PIXELS = 800
"""Along a side of a picture."""


@dataclass(frozen=True, eq=False)
class RegisteredPlanes:
    """What a quality page is about.

    Attributes
    ----------
    source, target : PlanarImage
    found : PlaneRegistration
        Of the two.
    names : tuple of str
        What they are called.
    criteria : AcceptanceCriteria
        That the decision was made by.
    """

    source: PlanarImage
    target: PlanarImage
    found: PlaneRegistration
    names: tuple[str, str] = ("source", "target")
    criteria: AcceptanceCriteria = field(default_factory=AcceptanceCriteria)


def write_registration_page(planes: RegisteredPlanes, path: Path) -> Path:
    """Write a registration as one HTML file, whether it is accepted or refused.

    Parameters
    ----------
    planes : RegisteredPlanes
    path : Path
        File to write, such as ``quality.html``.

    Returns
    -------
    Path
        The file. It holds its pictures and has no scripts.
    """
    decision, fitted = planes.found.decision, planes.found.fitted
    verdict = "Accepted" if decision.accepted else "Refused"
    sections = [
        Section("Decision", (paragraph(f"{verdict}. {decision.reason}"),)),
        _images(planes, fitted),
    ]
    if fitted is not None:
        sections.append(_matches(planes, fitted))
    sections += [_evidence(planes), _poses(planes.found)]
    title = f"Registration of {planes.names[0]} to {planes.names[1]}"
    with atomic_write(path) as temporary:
        text = page(title, f"Made by napari-neurobridge {__version__}.", sections)
        temporary.write_text(text, encoding="utf-8")
    return path


def _images(planes: RegisteredPlanes, fitted: PlaneFit | None) -> Section:
    source, target = _small(planes.source), _small(planes.target)
    here = normalize_crops(source.values)
    if fitted is None:
        pictures = [
            Picture(name, normalize_crops(plane.values), plane.pixel_um)
            for name, plane in zip(planes.names, (source, target), strict=True)
        ]
        figure = pair_figure(pictures, title="No map was found")
        return Section("Images", (picture(figure, "Both planes, as they are."),))
    there = normalize_crops(warp_plane(target, fitted.transform, source))
    side = max(round(planes.criteria.coverage_cell_um / source.pixel_um), 1)
    um = source.pixel_um
    single = [Picture(planes.names[0], here, um), Picture(planes.names[1], there, um)]
    both = [
        Picture("overlay", magenta_green(here, there), um),
        Picture("checkerboard", checkerboard(here, there, side), um),
    ]
    figure = pair_figure(single, both, title=f"{planes.names[1]} on {planes.names[0]}")
    caption = (
        f"{planes.names[1]} is drawn where the map puts it, green, under {planes.names[0]}, "
        f"magenta: what both show is white. The squares are {side * um:.0f} µm wide."
    )
    return Section("Images", (picture(figure, caption),))


def _matches(planes: RegisteredPlanes, fitted: PlaneFit) -> Section:
    source, matches = planes.source, planes.found.matches
    grid = CoverageGrid(source, planes.criteria.coverage_cell_um)
    agreeing = matches.source_um[fitted.agreeing]
    cells = CoverageCells(
        grid.counts(agreeing), cells_within(grid, fitted.transform, planes.target)
    )
    small = _small(source)
    figure = coverage_figure(
        normalize_crops(small.values),
        source.size_um,
        cells,
        agreeing + source.pixel_um / 2,
        matches.source_um[matches.verified & ~fitted.agreeing] + source.pixel_um / 2,
    )
    caption = "Cells without a match are hatched; what lies outside of the target is dark."
    parts = [picture(figure, caption)]
    if len(fitted.residuals_um):
        words = "Matches whose neighbourhood was left out of the fit."
        parts.append(picture(residual_histogram(fitted.residuals_um), words))
    parts += [paragraph(note, kind="hint") for note in fitted.choice.notes]
    return Section("Matches", tuple(parts))


def _evidence(planes: RegisteredPlanes) -> Section:
    values = planes.found.evidence.model_dump()
    rows = [
        (name, _in_words(values[name]), known.description or "")
        for name, known in Evidence.model_fields.items()
    ]
    asked = [(name, f"{value:g}") for name, value in planes.criteria.model_dump().items()]
    return Section(
        "Evidence",
        (
            table(("what", "value", "meaning"), rows, words=3),
            paragraph("It is accepted by these criteria:", kind="hint"),
            facts(asked),
        ),
    )


def _poses(found: PlaneRegistration) -> Section:
    rows = [
        (
            f"{pose.angle_deg:.0f}°{', mirrored' if pose.mirrored else ''}",
            str(len(pose.matches)),
            str(int(pose.matches.verified.sum())),
            str(pose.n_fitting),
        )
        for pose in found.poses
    ]
    header = ("source turned by", "matches", "verified", "fit one similarity")
    hint = "All but those beside the right one show how many matches chance finds."
    return Section("Poses", (table(header, rows), paragraph(hint, kind="hint")))


def _small(plane: PlanarImage) -> PlanarImage:
    """Return a plane with no more pixels than a picture needs."""
    return plane.resampled(plane.pixel_um * max(max(plane.values.shape) / _MOST_PIXELS, 1.0))


def _in_words(value: object) -> str:
    if value is None:
        return "unknown"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.3g}" if isinstance(value, float) else str(value)
