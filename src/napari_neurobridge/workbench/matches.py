"""The current match of all cells, kept up to date in the background."""

from __future__ import annotations

from operator import is_
from typing import TYPE_CHECKING

from psygnal import Signal

from napari_neurobridge.errors import Cancelled, InputError, NeuroBridgeError
from napari_neurobridge.types import DEFAULT_FDR, Verdict
from napari_neurobridge.workbench.neighbours import Neighbour, pairs_near
from napari_neurobridge.workbench.remedies import explain
from napari_neurobridge.workflows import match as matching
from napari_neurobridge.workflows.match import Claims

if TYPE_CHECKING:
    from pathlib import Path

    from napari_neurobridge.matching.appearance.agreement import Agreement
    from napari_neurobridge.matching.decoys import DecoyCheck
    from napari_neurobridge.matching.match import Match
    from napari_neurobridge.project.folder import Project
    from napari_neurobridge.project.log.fold import State
    from napari_neurobridge.types import Report, Vec3
    from napari_neurobridge.workbench.models import EncoderCache
    from napari_neurobridge.workbench.session import Session

CUTS = (0.01, 0.02, 0.05, 0.1, 0.2)
"""Shares of wrong claims that a person thinks in; what the next of them brings is told."""

MATCH_JOB, DECOYS_JOB = "match", "decoys"

# A match after a verdict is mostly over before anybody could read about it.
_QUIET_S = 1.0


class Matches:
    """Refits and matches after each verdict, without holding anybody up.

    Parameters
    ----------
    session : Session
        Where the project lives.
    encoders : EncoderCache
        Loads the model whose index tells candidates apart.

    Attributes
    ----------
    match : Match or None
        The latest; an older one stays until a newer is there.
    problem : str
        Why there is none; empty while there is hope.
    updating : bool
        Whether a newer one is on its way.
    cancelled : bool
        Whether the user stopped the latest, so that ``match`` is from before.
    changed : frozenset of str
        In-vivo cells whose most probable partner the latest verdict changed.
    fdr : float
        Share of claims that may be wrong.
    decoys : DecoyCheck or None
        How many cells are matched where no match is correct; ``None`` until somebody asked.
    """

    match_changed = Signal()
    claims_changed = Signal()

    def __init__(self, session: Session, encoders: EncoderCache) -> None:
        self.match: Match | None = None
        self.problem = ""
        self.updating = False
        self.cancelled = False
        self.changed: frozenset[str] = frozenset()
        self.fdr = DEFAULT_FDR
        self.decoys: DecoyCheck | None = None
        self._session = session
        self._encoders = encoders
        self._basis: object = None
        self._searching = False
        self._further: tuple[Claims, tuple[float, int]] | None = None
        self._claims: tuple[object, Claims] | None = None
        self._near_in: tuple[object, ...] = ()
        self._near_of: tuple[str, Vec3, str | None] | None = None
        self._near: list[Neighbour] = []
        self._partners: tuple[Claims | None, dict[str, tuple[str, float]]] | None = None
        session.project_changed.connect(self._on_project_changed)
        session.orientation_changed.connect(self._start_over)
        session.verdicts_changed.connect(self.refresh)
        session.index_changed.connect(self.refresh)

    # --- what views may ask ----------------------------------------------------------------

    @property
    def has_match(self) -> bool:
        """Whether all cells are matched."""
        return self.match is not None

    @property
    def is_aligned(self) -> bool:
        """Whether more than an orientation says how both sides lie."""
        project = self._session.project
        if project is None:
            return False
        sides = project.in_vivo(), project.ex_vivo()
        return self.has_match or project.state().registration(*sides) is not None

    @property
    def notes(self) -> tuple[str, ...]:
        """What a person should know about the match, a sentence each."""
        return () if self.match is None else self.match.notes

    @property
    def n_doubtful(self) -> int:
        """How many accepted pairs all other cells contradict."""
        return 0 if self.match is None else len(self.match.doubtful())

    @property
    def agreement(self) -> Agreement | None:
        """How often pictures and places name the same cell; None where pictures have no say."""
        return None if self.match is None else self.match.agreement

    def n_changed(self, besides: str | None = None) -> int:
        """Return for how many cells the latest verdict changed the most probable partner.

        Parameters
        ----------
        besides : str, optional
            A cell that is not counted.
        """
        return len(self.changed - {besides})

    def save_pairs(self, path: Path) -> None:
        """Write the accepted and the claimed pairs as CSV, in the background."""
        project, claims = self._session.project, self.claims()
        if project is None or claims is None:
            return
        self._session.jobs.submit(
            "save pairs",
            lambda: matching.write_claims(project, claims, path),
            lambda written: self._session.notify(f"wrote {len(claims.pairs)} pairs to {written}"),
            self._session.show_error,
        )

    # --- what is claimed -----------------------------------------------------------------

    def claims(self) -> Claims | None:
        """Return the pairs that may be claimed at the current cut; None without a match."""
        if self.match is None:
            return None
        key = (self.match, self.fdr)
        if self._claims is None or self._claims[0] != key:
            self._claims = (key, Claims.of(self.match, self.fdr))
        return self._claims[1]

    def set_fdr(self, fdr: float) -> None:
        """Move the cut."""
        self.fdr = fdr
        self._forget_decoys()
        self.claims_changed.emit()

    def next_cut(self) -> tuple[float, int] | None:
        """Return the next larger share of `CUTS`, and how many more pairs it allows to claim.

        None without a match, and where the cut is at the last of them.
        """
        claims = self.claims()
        further = next((cut for cut in CUTS if cut > self.fdr), None)
        if self.match is None or claims is None or further is None:
            return None
        if self._further is None or self._further[0] is not claims:
            more = len(Claims.of(self.match, further).pairs) - len(claims.pairs)
            self._further = claims, (further, more)
        return self._further[1]

    def check_decoys(self) -> None:
        """Count the matches in galleries that hold no partner; takes some six matches."""
        match, fdr = self.match, self.fdr
        if match is None:
            return

        def show(check: DecoyCheck) -> None:
            self.decoys = check
            self.claims_changed.emit()

        def refuse(error: NeuroBridgeError) -> None:
            self.claims_changed.emit()
            if not isinstance(error, Cancelled):
                self._session.show_error(error)

        self._session.jobs.follow(
            DECOYS_JOB,
            lambda report: match.decoys(fdr, report=report),
            show,
            refuse,
            title="Decoy check",
            beside=True,
        )
        self.claims_changed.emit()

    @property
    def checking(self) -> bool:
        """Whether decoys are being matched."""
        return DECOYS_JOB in self._session.jobs.running()

    def partners(self) -> dict[str, tuple[str, float]]:
        """Return partner and probability of each cell of a claimed pair, of either side."""
        claims = self.claims()
        if self._partners is None or self._partners[0] is not claims:
            found: dict[str, tuple[str, float]] = {}
            for pair in claims.pairs if claims is not None else ():
                found[pair.in_vivo_uid] = (pair.ex_vivo_uid, pair.probability)
                found[pair.ex_vivo_uid] = (pair.in_vivo_uid, pair.probability)
            self._partners = claims, found
        return self._partners[1]

    def changed_on_both_sides(self) -> frozenset[str]:
        """Return the cells whose partner the latest verdict changed, with their new partners."""
        if self.updating:
            return frozenset()
        partners = self.partners()
        return self.changed | {partners[uid][0] for uid in self.changed & partners.keys()}

    def neighbours(self, dataset: str, center_um: Vec3, uid: str | None) -> list[Neighbour]:
        """Return the pairs nearest to a place, accepted ones before claimed ones.

        Parameters
        ----------
        dataset, center_um
            Where, µm (z, y, x).
        uid : str, optional
            The soma there, which is no neighbour of itself.
        """
        project, claims = self._session.project, self.claims()
        if project is None or claims is None or self.match is None:
            return []
        sides = project.in_vivo(), project.ex_vivo()
        if dataset not in sides:
            return []
        somata = {name: project.state().somata.get(name, {}) for name in sides}
        held, asked = (claims, *somata.values()), (dataset, center_um, uid)
        # The same is asked several times, whenever anything about the question is new.
        known = self._near_of == asked and all(map(is_, self._near_in, held))
        if not known:
            self._near_in, self._near_of = held, asked
            self._near = pairs_near(claims.pairs, somata, *asked)
        return self._near

    # --- keeping up to date ----------------------------------------------------------------

    def refresh(self) -> None:
        """Match anew if anything that matters is another; the old match stays until then."""
        project = self._session.project
        if project is None:
            self._set(None, "")
            return
        basis = _basis(project.state(), project)
        if basis == self._basis:
            return
        self._basis = basis
        begun = self.match is not None and len(self.match.proposals) > 0
        if not (begun or self._searching or matching.has_landmarks(project)):
            self._forget()
            self._set(None, "")
            return
        self._submit(project, constellation=self._searching)

    def again(self) -> None:
        """Match what a cancelled match was about."""
        self._basis = None
        self.refresh()

    def find_start(self) -> None:
        """Look for a first match without any accepted pair; takes a while."""

        def start() -> None:
            project = self._session.require_project()
            if matching.has_landmarks(project):
                raise InputError("There are accepted pairs already; cells are matched from those.")
            self._submit(project, constellation=True)

        self._session.attempt(start)

    def _submit(self, project: Project, *, constellation: bool = False) -> None:
        start = self.match
        self.updating, self.problem, self._searching = True, "", constellation
        self.cancelled = False
        self.match_changed.emit()

        def work(report: Report) -> Match:
            from napari_neurobridge.matching.match_datasets import match_datasets

            encoder = matching.matching_encoder(project, lambda: self._encoders.ranking(project))
            try:
                found = match_datasets(
                    project,
                    encoder,
                    start=start,
                    constellation=constellation,
                    report=report,
                )
                # What every view asks for first.
                _ = found.matched(), found.agreement, found.notes
            except NeuroBridgeError:
                raise
            except Exception as error:
                # Otherwise the dock would wait for an answer for good.
                raise NeuroBridgeError(
                    f"Matching failed ({error}); please report this, with the project if possible."
                ) from error
            return found

        def refuse(error: NeuroBridgeError) -> None:
            if isinstance(error, Cancelled):
                self.cancelled, self.updating, self._searching = True, False, False
                self.match_changed.emit()
                return
            self._set(None, explain(error))
            self._session.show_error(error)

        self._session.jobs.follow(
            MATCH_JOB,
            work,
            lambda found: self._set(found, ""),
            refuse,
            title="First matches without any pair" if constellation else "Matching all cells",
            beside=True,
            quiet_s=0.0 if constellation else _QUIET_S,
        )

    def _set(self, match: Match | None, problem: str) -> None:
        before, self.match = self.match, match
        self._forget_decoys()
        self.cancelled = False
        self.updating, self.problem, self._searching = False, problem, False
        self.changed = (
            frozenset()
            if before is None or match is None
            else matching.changed_partners(before, match)
        )
        self.match_changed.emit()
        self.claims_changed.emit()

    def _start_over(self) -> None:
        self._basis = None
        self.match = None
        self.refresh()

    def _on_project_changed(self, _: Project | None) -> None:
        self._forget()
        self._searching = False
        self._start_over()

    def _forget(self) -> None:
        self._session.jobs.forget(MATCH_JOB)

    def _forget_decoys(self) -> None:
        self.decoys = None
        self._session.jobs.forget(DECOYS_JOB)


def _basis(state: State, project: Project) -> object:
    """Return what a match depends on, to be compared."""
    sides = project.in_vivo(), project.ex_vivo()
    rejected = frozenset(v.pair for v in state.verdicts if v.verdict is Verdict.REJECT)
    return (
        frozenset(state.pairs_between(*sides).items()),
        rejected,
        state.landmarks.living,
        frozenset(state.none),
        tuple(state.somata.get(name) for name in sides),
        state.registration(*sides),
        # An index that grew lets crops tell candidates apart.
        sum(1 for _ in project.embeddings_dir.rglob("shard-*")),
        state.adoptions,
    )
