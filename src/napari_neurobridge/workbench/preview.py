"""What a verdict would change, before it is given: matched anew in the background, kept nowhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

from psygnal import Signal

from napari_neurobridge.errors import Cancelled, NeuroBridgeError
from napari_neurobridge.project.log.judging import Judgement
from napari_neurobridge.types import Verdict
from napari_neurobridge.workbench.remedies import explain
from napari_neurobridge.workbench.snapshot import NONE_OF_THESE
from napari_neurobridge.workflows.consequence import Consequence, consequence_of
from napari_neurobridge.workflows.match import matching_encoder

if TYPE_CHECKING:
    from napari_neurobridge.matching.match import Match
    from napari_neurobridge.project.folder import Project
    from napari_neurobridge.workbench.matches import Matches
    from napari_neurobridge.workbench.models import EncoderCache
    from napari_neurobridge.workbench.questions import Questions
    from napari_neurobridge.workbench.session import Session
    from napari_neurobridge.workbench.snapshot import QuestionSnapshot

_JOB = "preview"
_WAITING = "Working out what accepting would change …"
_NO_MATCH = "Nothing is matched yet that this could change."
_NOTHING_PICKED = "Pick a candidate first, to see what accepting it would change."
_BLIND = "Hidden in a random check."


class Preview:
    """Shows what accepting would change, while somebody wants to see it.

    Parameters
    ----------
    session : Session
        Where the project lives; nothing is written to it.
    encoders : EncoderCache
        Loads the model whose index tells candidates apart.
    matches : Matches
        The match that would change, and that stays as it is.
    questions : Questions
        What would be accepted; publishes which cells would change.

    Attributes
    ----------
    wanted : bool
        Whether somebody wants to see it.
    text : str
        The consequence in words, or why there is none; empty while nobody wants to see it.
    """

    changed = Signal()

    def __init__(
        self, session: Session, encoders: EncoderCache, matches: Matches, questions: Questions
    ) -> None:
        self.wanted = False
        self.text = ""
        self._session = session
        self._encoders = encoders
        self._matches = matches
        self._questions = questions
        self._asked = questions.snapshot.asked
        self._latest = 0
        self._known: tuple[Match | None, float, dict[tuple[str, str], Consequence]] | None = None
        session.project_changed.connect(self.end)
        session.verdicts_changed.connect(self.end)
        questions.snapshot_changed.connect(self._on_snapshot_changed)
        matches.match_changed.connect(self._on_match_changed)

    def begin(self) -> None:
        """Show what accepting what is picked would change, as soon as that is known."""
        self.wanted = True
        self._latest += 1
        self._session.jobs.forget(_JOB)
        query, picked = self._questions.snapshot.asked
        match, project = self._matches.match, self._session.project
        if query is None or query.uid is None or picked is None:
            self._show(None, _NOTHING_PICKED)
        elif query.audit:
            self._show(None, _BLIND)
        elif self._matches.updating:  # which comes first, and begins this again
            self._show(None, _WAITING)
        elif project is None or match is None or query.uid not in match:
            self._show(None, _NO_MATCH)
        else:
            self._find(project, match, (query.uid, picked))

    def end(self, _: object = None) -> None:
        """Take away what was shown, and stop working on it."""
        if not self.wanted:
            return
        self.wanted = False
        self._latest += 1
        self._session.jobs.forget(_JOB)
        self._show(None, "")

    def toggle(self) -> None:
        """Begin, or end."""
        if self.wanted:
            self.end()
        else:
            self.begin()

    # --- inside ----------------------------------------------------------------------

    def _find(self, project: Project, match: Match, key: tuple[str, str]) -> None:
        fdr, number = self._matches.fdr, self._latest
        if self._known is None or self._known[0] is not match or self._known[1] != fdr:
            self._known = (match, fdr, {})
        known = self._known[2]
        if key in known:
            self._tell(known[key])
            return
        self._show(None, _WAITING)

        def stop_if_stale(done: int, total: int, message: str) -> None:
            if number != self._latest:
                raise Cancelled("nobody wants to see it any more")

        def work() -> Consequence:
            return consequence_of(
                project,
                match,
                _judgement(*key),
                fdr,
                encoder=matching_encoder(project, lambda: self._encoders.ranking(project)),
                annotator=self._session.annotator,
                report=stop_if_stale,
            )

        def show(found: Consequence) -> None:
            known[key] = found
            self._tell(found)

        def refuse(error: NeuroBridgeError) -> None:
            if not isinstance(error, Cancelled):
                self._show(None, explain(error))

        self._session.jobs.submit(_JOB, work, show, refuse, beside=True)

    def _tell(self, found: Consequence) -> None:
        cells = "1 other cell" if found.n_others == 1 else f"{found.n_others} other cells"
        self._show(found.uids, f"Accepting changes {cells if found.n_others else 'no other cell'}.")

    def _show(self, uids: frozenset[str] | None, text: str) -> None:
        self.text = text
        self._questions.show_would_change(uids)
        self.changed.emit()

    def _on_snapshot_changed(self, shown: QuestionSnapshot) -> None:
        if shown.asked == self._asked:
            return
        self._asked = shown.asked
        if self.wanted:
            self.begin()

    def _on_match_changed(self) -> None:
        if self.wanted and not self._matches.updating:
            self.begin()


def _judgement(uid: str, picked: str) -> Judgement:
    if picked == NONE_OF_THESE:
        return Judgement(Verdict.NONE, uid)
    return Judgement(Verdict.ACCEPT, uid, picked)
