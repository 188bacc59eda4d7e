"""A person's decisions, written as events: verdicts, and somata edited by hand."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from napari_neurobridge.errors import InputError, InvalidActionError
from napari_neurobridge.matching.wording import UNLIKELY, percent
from napari_neurobridge.project.log import annotate
from napari_neurobridge.project.log.events import UndoScope, VerdictEvidence
from napari_neurobridge.types import Basis, SomaSource
from napari_neurobridge.workbench.decisions import go_to
from napari_neurobridge.workbench.session import Remedy
from napari_neurobridge.workbench.user_settings import change_settings, load_settings

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from napari_neurobridge.project.log.events import Event
    from napari_neurobridge.types import Candidate, NoneReason, Vec3
    from napari_neurobridge.workbench.answers import Query
    from napari_neurobridge.workbench.questions import Questions
    from napari_neurobridge.workbench.session import Session
    from napari_neurobridge.workbench.snapshot import QuestionSnapshot


class Verdicts:
    """Records decisions; each is one event, and undo is an event too.

    Parameters
    ----------
    session : Session
        Where the project lives.
    questions : Questions
        What is being asked, and which candidate is picked.

    Attributes
    ----------
    then_next : bool
        Whether a decision asks the next question at once; a user's setting.
    """

    def __init__(self, session: Session, questions: Questions) -> None:
        self._session = session
        self._questions = questions
        self._stated_reason: tuple[NoneReason | None] | None = None
        self._asked: Query | None = None
        self._insisted: set[tuple[str, str]] = set()
        self.then_next = load_settings().next_after_verdict
        questions.snapshot_changed.connect(self._on_snapshot_changed)

    @property
    def none_reason(self) -> NoneReason | None:
        """Why the queried cell has no partner: as a person states it, else as evidence says."""
        if self._stated_reason is not None:
            return self._stated_reason[0]
        line = self._questions.snapshot.none
        return None if line is None else line.reason

    def state_none_reason(self, reason: NoneReason | None) -> None:
        """State why the queried cell has no partner, should it be found to have none."""
        self._stated_reason = (reason,)

    def set_then_next(self, wanted: bool) -> None:
        """Let each decision ask the next question at once, now and in the next session."""
        self.then_next = wanted
        change_settings(next_after_verdict=wanted)

    # --- verdicts --------------------------------------------------------------------

    def accept(self) -> None:
        """Record that the picked candidate is the queried cell, or that none of them is.

        A candidate that is hardly probable is accepted only when the user insists, once.
        """
        if self._questions.none_picked:
            self.none()
            return
        force = partial(annotate.accept, force=True)
        self._judge("accepted", annotate.accept, forced=force, refuses=self._why_improbable)

    def reject(self) -> None:
        """Record that the chosen candidate is another cell."""
        self._judge("rejected", annotate.reject)

    def unsure(self) -> None:
        """Record that the chosen candidate may or may not be the cell."""
        self._judge("unsure about", annotate.unsure)

    def none(self) -> None:
        """Record that no candidate is the queried cell, for ``none_reason``."""

        def record() -> None:
            uid, reason = self._require_query_uid(), self.none_reason
            annotate.none(
                self._session.require_project(),
                uid,
                reason,
                annotator=self._session.annotator,
                evidence=self._evidence(None),
            )
            why = f" ({reason.replace('_', ' ')})" if reason else ""
            self._decided(f"{uid} has no partner{why}")
            self._go_on(uid)

        self._session.attempt(record)

    def undo(self) -> None:
        """Undo this annotator's last decision or edit; never a detection run."""
        self._step(partial(annotate.undo, scope=UndoScope.HAND), "undone")

    def revert(self, event_id: str) -> None:
        """Take back a decision or edit of this annotator, however much was done since."""
        self._step(partial(annotate.revert, event_id=event_id), "undone")

    def redo(self) -> None:
        """Redo what was undone last."""
        self._step(partial(annotate.redo, scope=UndoScope.HAND), "redone")

    # --- somata ----------------------------------------------------------------------

    def add_somata(self, dataset: str, centers_um: Sequence[Vec3]) -> None:
        """Add somata by hand, in one step of undo."""

        def add() -> None:
            somata = annotate.add_somata(
                self._session.require_project(),
                dataset,
                centers_um,
                source=SomaSource.MANUAL,
                annotator=self._session.annotator,
            )
            self._session.somata_were_changed(dataset)
            self._session.notify(f"added {', '.join(soma.uid for soma in somata)}")

        self._session.attempt(add)

    def move_somata(self, dataset: str, uids: Sequence[str], centers_um: Sequence[Vec3]) -> None:
        """Move somata by hand, in one step of undo; their uids stay."""

        def move() -> None:
            annotate.move_somata(
                self._session.require_project(),
                uids,
                centers_um,
                annotator=self._session.annotator,
            )
            self._session.somata_were_changed(dataset)
            self._session.notify(f"moved {', '.join(uids)}")

        self._session.attempt(move)

    def delete_somata(self, dataset: str, uids: Sequence[str]) -> None:
        """Delete somata by hand; a soma that a verdict names stays as a tombstone."""

        def delete() -> None:
            annotate.delete_somata(
                self._session.require_project(), uids, annotator=self._session.annotator
            )
            self._session.somata_were_changed(dataset)
            self._session.notify(f"deleted {', '.join(uids)}; press Z to undo")

        self._session.attempt(delete)

    # --- inside ----------------------------------------------------------------------

    def _judge(
        self,
        done: str,
        judge: Callable[..., object],
        *,
        forced: Callable[..., object] | None = None,
        refuses: Callable[[str, Candidate], str] | None = None,
    ) -> None:
        """Record a verdict on the picked candidate.

        ``forced`` overrides a contradiction; ``refuses`` says why the user is asked first.
        """

        def record() -> None:
            uid, candidate = self._require_query_uid(), self._questions.choice
            if candidate is None:
                none = "None of these is picked. " if self._questions.none_picked else ""
                raise InputError(f"{none}Pick a candidate first (keys 1 to 9).")
            project, evidence = self._session.require_project(), self._evidence(candidate)

            def write(by: Callable[..., object]) -> None:
                by(
                    project,
                    uid,
                    candidate.uid,
                    annotator=self._session.annotator,
                    evidence=evidence,
                )
                self._decided(f"{done} {uid} ↔ {candidate.uid}")
                if judge is annotate.reject:
                    self._pick_after(uid, candidate)
                else:
                    self._go_on(uid)

            def insist() -> None:
                self._insisted.add((uid, candidate.uid))
                attempt(lambda: write(judge), remedy)

            def refuse() -> None:
                raise InvalidActionError(doubt, forceable=True)

            # The remedies are about this pair, whatever is being asked when they are pressed.
            remedy = forced and Remedy("Replace it", lambda: attempt(lambda: write(forced)))
            doubt = "" if refuses is None else refuses(uid, candidate)
            if doubt:
                attempt(refuse, Remedy("Accept all the same", insist))
            else:
                attempt(lambda: write(judge), remedy)

        attempt = self._session.attempt
        attempt(record)

    def _go_on(self, uid: str) -> None:
        """Ask the next question, if that is wanted and the decided one is still asked."""
        query = self._questions.query
        if self.then_next and query is not None and query.uid == uid:
            self._questions.next_query()

    def _pick_after(self, uid: str, rejected: Candidate) -> None:
        """Pick the line below a rejected one: the cell itself is not decided yet."""
        answer = self._questions.answer
        # In an audit nothing is proposed.
        if not self.then_next or answer is None or answer.blind or answer.query.uid != uid:
            return
        listed = [candidate.uid for candidate in answer.shown]
        if rejected.uid in listed:
            below = listed.index(rejected.uid) + 2
            self._questions.choose(below if below <= len(listed) else 0)

    def _why_improbable(self, uid: str, candidate: Candidate) -> str:
        """Return why a pair should be looked at again before it is accepted, once; else nothing."""
        answer, probability = self._questions.answer, candidate.probability
        # In an audit the question alone would tell what the program thinks.
        blind = answer is None or answer.blind
        if blind or probability is None or probability >= UNLIKELY:
            return ""
        if (uid, candidate.uid) in self._insisted:
            return ""
        return (
            f"{uid} ↔ {candidate.uid} has a probability of {percent(probability)} and contradicts "
            "the accepted pairs."
        )

    def _on_snapshot_changed(self, shown: QuestionSnapshot) -> None:
        if shown.query != self._asked:
            self._asked, self._stated_reason = shown.query, None

    def _step(self, step: Callable[..., list[Event]], done: str) -> None:
        def record() -> None:
            project = self._session.require_project()
            before = project.state().somata
            events = step(project, annotator=self._session.annotator)
            self._session.tell_changed_somata(before)
            self._decided(f"{done}: {annotate.describe_target(project, events)}")
            go_to(self._questions, project, project.action_behind(events[0]))

        self._session.attempt(record)

    def _require_query_uid(self) -> str:
        query = self._questions.query
        if query is None:
            raise InputError("Click a two-photon cell first, or press space for the next one.")
        if query.uid is None:
            raise InputError("There is no soma at this place; add one with the + tool first.")
        return query.uid

    def _evidence(self, candidate: Candidate | None) -> VerdictEvidence:
        answer = self._questions.answer
        match = answer.match if answer else None
        ranking = answer.ranking if answer else None
        probable = ranking is not None and ranking.basis is Basis.PROBABILITY
        uid = answer.query.uid if answer else None
        first = None
        mass_above = None
        if match is not None and probable and uid is not None and uid in match:
            first = match.first_uncalibrated(uid)
            mass_above = match.mass_above(uid, candidate.uid if candidate else None)
        return VerdictEvidence(
            rank=candidate.rank if candidate else None,
            similarity=candidate.similarity if candidate else None,
            residual_um=candidate.residual_um if candidate else None,
            probability=candidate.probability if candidate else None,
            model_hash=ranking.model or None if ranking else None,
            alignment_id=match.alignment.id if match and probable else None,
            seconds=self._questions.seconds_spent(),
            audit=answer is not None and answer.blind,
            first_uid=first[0] if first else None,
            first_probability=first[1] if first else None,
            mass_above=mass_above,
        )

    def _decided(self, text: str) -> None:
        self._session.verdicts_changed.emit()
        self._session.notify(text)
