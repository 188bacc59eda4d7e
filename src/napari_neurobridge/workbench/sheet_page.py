"""What a contact sheet shows at a time: one page of pairs, and the words around it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from napari_neurobridge.matching.wording import percent
from napari_neurobridge.types import Verdict

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from napari_neurobridge.matching.matched_pairs import MatchedPair
    from napari_neurobridge.project.log.verdicts_fold import PairKey
    from napari_neurobridge.workflows.random_check import Certificate

MOST_TILES = 48
"""Pairs on one page."""

NO_PROJECT = "Open a project in the Data dock first."
NO_IMAGES = (
    "This project has points only, so there are no crops to look at. Go through the claimed "
    "pairs in the Pairs table instead."
)
NO_MATCH = "No pair is claimed yet: accept a few pairs in the Match dock first."
NOTHING_LEFT = "No claimed pair is left to look at. A higher share of wrong pairs claims more."
HIDDEN = (
    "A random check is open in the Match dock. Matches are hidden until it is answered, or "
    "another cell is asked about."
)


class PageKind(StrEnum):
    """Whether the program's view is shown; the value is what a page is called."""

    REVIEW = "claimed pairs"
    CHECK = "random check"


@dataclass(frozen=True, slots=True)
class Tile:
    """One pair on a page.

    Attributes
    ----------
    pair : PairKey
        Uids, in vivo first.
    caption : str
        The uids.
    chance : str
        The probability, as "97 %"; empty in a random check.
    """

    pair: PairKey
    caption: str
    chance: str = ""


@dataclass(frozen=True)
class SheetPage:
    """One page.

    Attributes
    ----------
    kind : PageKind
    tiles : tuple of Tile
        In the order of reading.
    title : str
        What they are.
    message : str
        Stands in place of the tiles while there are none.
    remark : str
        What else there is to say then, in smaller words.
    points_only : bool
        Whether there is nothing to see because the project has no images.
    """

    kind: PageKind = PageKind.REVIEW
    tiles: tuple[Tile, ...] = ()
    title: str = ""
    message: str = ""
    remark: str = ""
    points_only: bool = False


def review_page(
    shown: Sequence[PairKey], claimed: Mapping[PairKey, MatchedPair], n_left: int
) -> SheetPage:
    """Return a page of claimed pairs, of ``n_left`` in all."""
    tiles = tuple(_tile(pair, claimed.get(pair)) for pair in shown)
    title = f"{len(tiles)} of {n_left:,} claimed pairs, the least certain first" if tiles else ""
    return SheetPage(PageKind.REVIEW, tiles, title, "" if tiles else NOTHING_LEFT)


def check_page(shown: Sequence[PairKey], so_far: Certificate) -> SheetPage:
    """Return a page of a random check without probabilities, or what it certifies at its end."""
    if so_far.complete:
        title = f"Random check {so_far.number}"
        return SheetPage(PageKind.CHECK, (), title, so_far.in_words(), so_far.limits)
    tiles = tuple(_tile(pair, None) for pair in shown)
    title = (
        f"Random check {so_far.number}: pairs {so_far.n_answered + 1} to "
        f"{so_far.n_answered + len(tiles)} of {so_far.n}, in random order, without probabilities"
    )
    return SheetPage(PageKind.CHECK, tiles, title)


def action_in_words(marks: Sequence[Verdict | None]) -> str:
    """Return what closing a page would do, from the marks of its pairs."""
    n_rejected, n_unsure = marks.count(Verdict.REJECT), marks.count(Verdict.UNSURE)
    if not n_rejected and not n_unsure:
        return f"Accept all {len(marks)}"
    rejected = f", reject the {n_rejected} marked" if n_rejected else ""
    return f"Accept the rest{rejected}" + (f", leave {n_unsure} unsure" if n_unsure else "")


def page_in_words(said: Sequence[Verdict | None]) -> str:
    """Return what became of a page, such as "accepted 45, rejected 3"."""
    words = {Verdict.ACCEPT: "accepted", Verdict.REJECT: "rejected", Verdict.UNSURE: "unsure about"}
    parts = [f"{word} {said.count(verdict)}" for verdict, word in words.items() if verdict in said]
    if None in said:
        parts.append(f"left out {said.count(None)} whose cells are matched otherwise by now")
    return ", ".join(parts)


def _tile(pair: PairKey, claim: MatchedPair | None) -> Tile:
    return Tile(pair, f"{pair[0]} – {pair[1]}", "" if claim is None else percent(claim.probability))
