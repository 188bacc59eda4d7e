"""A project registered by the pattern of its somata: found, told, applied, and taken back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from psygnal import Signal

from napari_neurobridge.errors import Cancelled, InputError
from napari_neurobridge.project.log import annotate
from napari_neurobridge.project.log.events import UndoScope
from napari_neurobridge.workbench.native import keep_triton_away_from_mesa

if TYPE_CHECKING:
    from napari_neurobridge.errors import NeuroBridgeError
    from napari_neurobridge.project.log.registrations import AppliedRegistration
    from napari_neurobridge.registration.quality import RegistrationDecision
    from napari_neurobridge.types import Report
    from napari_neurobridge.workbench.session import Session
    from napari_neurobridge.workflows.register import RegistrationProposal

SOMATA_JOB = "register somata"
_SCOPE = UndoScope.REGISTRATION


class SomaRegistration:
    """Looks for the in-vivo field in the ex-vivo volume; an accepted result can be applied.

    Parameters
    ----------
    session : Session
        Where the project lives.

    Attributes
    ----------
    proposal : RegistrationProposal or None
        What was found last of the project as it is.
    """

    changed = Signal()
    show_requested = Signal()

    def __init__(self, session: Session) -> None:
        self.proposal: RegistrationProposal | None = None
        self._session = session
        session.project_changed.connect(self._on_project_changed)
        session.verdicts_changed.connect(self.changed.emit)
        session.somata_changed.connect(self._forget)
        session.orientation_changed.connect(self._forget)

    # --- what views may ask ----------------------------------------------------------------

    @property
    def offered(self) -> bool:
        """Whether there is a project of two sides that both have somata."""
        project = self._session.project
        if project is None:
            return False
        somata = project.state().somata
        return all(somata.get(name) for name in (project.in_vivo(), project.ex_vivo()))

    @property
    def running(self) -> bool:
        """Whether the field is being looked for."""
        return SOMATA_JOB in self._session.jobs.running()

    @property
    def decision(self) -> RegistrationDecision | None:
        """Whether what was found is accepted, and why; None before anything was."""
        return None if self.proposal is None else self.proposal.found.decision

    @property
    def applied(self) -> AppliedRegistration | None:
        """The registration that the project's alignment rests on; None without one."""
        project = self._session.project
        if project is None:
            return None
        return project.state().registration(project.in_vivo(), project.ex_vivo())

    @property
    def can_apply(self) -> bool:
        """Whether what was found is accepted, and the alignment does not rest on it yet."""
        return self.proposal is not None and self.proposal.found.transform is not None

    @property
    def can_take_back(self) -> bool:
        """Whether this annotator applied a registration that still stands."""
        project, me = self._session.project, self._session.annotator
        return project is not None and bool(project.state().undoable(me, _SCOPE))

    # --- what a person does ----------------------------------------------------------------

    def show(self) -> None:
        """Let the dock be seen in which this is done."""
        self.show_requested.emit()

    def find(self) -> None:
        """Look for the field in the background; nothing is changed by that."""

        def start() -> None:
            project = self._session.require_project()

            def work(report: Report) -> RegistrationProposal:
                report(0, 0, "loading the models")
                keep_triton_away_from_mesa()
                from napari_neurobridge.workflows.register import propose_registration

                return propose_registration(project, report=report)

            def take(proposal: RegistrationProposal) -> None:
                if self._session.project is project:
                    self.proposal = proposal
                    self._session.notify("")
                    self.changed.emit()

            self._session.jobs.follow(
                SOMATA_JOB,
                work,
                take,
                self._refuse,
                title=f"Look for {project.in_vivo()} in {project.ex_vivo()}",
                beside=True,
            )
            self.changed.emit()

        self._session.attempt(start, about="register somata")

    def apply(self) -> None:
        """Let the alignment rest on what was found; one event, and so is taking it back."""

        def write() -> None:
            from napari_neurobridge.workflows.register import apply_registration

            project = self._session.require_project()
            if self.proposal is None:
                raise InputError("Nothing was found yet that could be applied.")
            apply_registration(project, self.proposal, annotator=self._session.annotator)
            self.proposal = None
            self._session.verdicts_changed.emit()
            self._session.notify(
                "The alignment rests on the registration; accepted pairs refine it"
            )

        self._session.attempt(write, about="apply registration")

    def take_back(self) -> None:
        """Take back the registration that this annotator applied last."""

        def undo() -> None:
            project, me = self._session.require_project(), self._session.annotator
            events = annotate.undo(project, annotator=me, scope=_SCOPE)
            self._session.verdicts_changed.emit()
            self._session.notify(f"undone: {annotate.describe_target(project, events)}")

        self._session.attempt(undo, about="take back registration")

    # --- inside ------------------------------------------------------------------------

    def _refuse(self, error: NeuroBridgeError) -> None:
        if isinstance(error, Cancelled):
            self._session.notify("The registration was cancelled; nothing has changed")
        else:
            self._session.show_error(error)
        self.changed.emit()

    def _on_project_changed(self, _: object) -> None:
        self._session.jobs.forget(SOMATA_JOB)
        self._forget()

    def _forget(self, _: object = None) -> None:
        """Drop what was found of other somata, or of another project."""
        self.proposal = None
        self.changed.emit()
