"""A project as a notebook holds it: each method does what the command of its name does."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from napari_neurobridge.api.imports import ProjectImports
from napari_neurobridge.api.registration import ProjectRegistration
from napari_neurobridge.api.results import EvaluationResult, MatchResult, ranking_table
from napari_neurobridge.errors import InputError
from napari_neurobridge.project.log.judging import Judgement
from napari_neurobridge.types import DEFAULT_FDR, NoneReason, Verdict
from napari_neurobridge.workflows.judgements import judge_all, write_note

if TYPE_CHECKING:
    from types import TracebackType

    import numpy as np
    import numpy.typing as npt

    from napari_neurobridge.io.transforms.common import TransformFile
    from napari_neurobridge.matching.appearance.gallery import IndexResult
    from napari_neurobridge.project.folder import Project
    from napari_neurobridge.spaces import Transform
    from napari_neurobridge.workflows.random_check import Certificate
    from napari_neurobridge.workflows.train import TrainingResult


class OpenProject(ProjectImports, ProjectRegistration):
    """A project folder; made by `create` and `open`, and a context manager that closes it.

    Parameters
    ----------
    folder : Project
        What the library's own functions take.
    """

    def __init__(self, folder: Project) -> None:
        self.folder = folder

    def __repr__(self) -> str:
        counts = ", ".join(f"{n} {name}" for name, n in self._counts().items())
        n_pairs = len(self.folder.state().pairs)
        return f"<{self.path.name}: somata {counts}; {n_pairs} accepted pairs>"

    def __enter__(self) -> OpenProject:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Release the files."""
        self.folder.close()

    @property
    def path(self) -> Path:
        """The folder."""
        return self.folder.path

    def _counts(self) -> dict[str, int]:
        return {name: len(somata) for name, somata in self.folder.state().somata.items()}

    # --- from images to an index ----------------------------------------------------------

    def detect(self, dataset: str | None = None) -> dict[str, int]:
        """Find somata in one image or in all, and return how many each dataset has.

        Raises
        ------
        InputError
            If the dataset is unknown or has no image.
        """
        from napari_neurobridge.workflows.detect import detect_dataset

        names = self.folder.datasets_with_images if dataset is None else [dataset]
        return {name: detect_dataset(self.folder, name) for name in names}

    def index(self, model: str | None = None) -> IndexResult:
        """Embed the crops of all somata that are not embedded yet.

        Parameters
        ----------
        model : str, optional
            The project's current one unless given.

        Raises
        ------
        InputError
            If there is nothing to embed, or no such model.
        """
        from napari_neurobridge.workflows.index import build_index

        return build_index(self.folder, model)

    def somata(self, dataset: str) -> pd.DataFrame:
        """Return the somata of a dataset: ``uid, z_um, y_um, x_um, source, confidence``.

        Raises
        ------
        InputError
            If the dataset is unknown.
        """
        somata = self.folder.state().somata[self.folder.dataset(dataset).name].values()
        columns = ["uid", "z_um", "y_um", "x_um", "source", "confidence"]
        rows = [(s.uid, *s.center_um, str(s.source), s.confidence) for s in somata]
        return pd.DataFrame(rows, columns=columns).set_index("uid")

    # --- verdicts ---------------------------------------------------------------------------

    def accept(self, two_photon_uid: str, fmost_uid: str, *, force: bool = False) -> None:
        """Record that two somata are the same cell.

        Parameters
        ----------
        two_photon_uid, fmost_uid : str
        force : bool
            Also where one of them is paired already; that pair is revoked.

        Raises
        ------
        InputError
            If a soma is unknown.
        InvalidActionError
            If a soma is paired with another, and ``force`` is not set.
        """
        self._judge(Judgement(Verdict.ACCEPT, two_photon_uid, fmost_uid), force=force)

    def reject(self, two_photon_uid: str, fmost_uid: str) -> None:
        """Record that two somata are different cells."""
        self._judge(Judgement(Verdict.REJECT, two_photon_uid, fmost_uid))

    def unsure(self, two_photon_uid: str, fmost_uid: str) -> None:
        """Record that somebody looked and could not tell."""
        self._judge(Judgement(Verdict.UNSURE, two_photon_uid, fmost_uid))

    def none(self, uid: str, reason: str | None = None) -> None:
        """Record that no candidate is the cell; see `NoneReason` for the reasons."""
        why = None if reason is None else NoneReason(reason)
        self._judge(Judgement(Verdict.NONE, uid, reason=why))

    def note(self, two_photon_uid: str, fmost_uid: str | None, text: str) -> None:
        """Write a note on a pair, in place of this user's last; empty takes it away.

        Parameters
        ----------
        two_photon_uid : str
        fmost_uid : str or None
            ``None`` for a note on one cell.
        text : str

        Raises
        ------
        InputError
            If a soma is unknown.
        """
        write_note(self.folder, two_photon_uid, fmost_uid, text)

    def undo(self, event: str | None = None) -> None:
        """Take back what this user recorded last, of any kind, or an earlier event by its id.

        Raises
        ------
        InvalidActionError
            If there is nothing to take back.
        """
        from napari_neurobridge.project.log import annotate

        if event is None:
            annotate.undo(self.folder)
        else:
            annotate.revert(self.folder, event)

    def _judge(self, judgement: Judgement, *, force: bool = False) -> None:
        judge_all(self.folder, [judgement], force=force)

    def pairs(self) -> pd.DataFrame:
        """Return the accepted pairs that nobody disputes: ``two_photon_uid, fmost_uid``."""
        sides = self.folder.in_vivo(), self.folder.ex_vivo()
        pairs = sorted(self.folder.state().pairs_between(*sides).items())
        return pd.DataFrame(pairs, columns=["two_photon_uid", "fmost_uid"])

    def certificate(self, path: str | Path | None = None) -> Certificate:
        """Return what the latest finished random check of claimed pairs certifies.

        Parameters
        ----------
        path : str or Path, optional
            Also write it, as ``.json``, ``.csv``, ``.png`` or ``.pdf``.

        Raises
        ------
        InputError
            If no check is finished, or the suffix is another.
        """
        from napari_neurobridge.workflows.random_check import latest_certificate, write_certificate

        found = latest_certificate(self.folder)
        if path is not None:
            write_certificate(found, Path(path))
        return found

    # --- finding partners ---------------------------------------------------------------------

    def rank(self, uid: str, k: int = 10, *, model: str | None = None) -> pd.DataFrame:
        """Rank the somata of the other microscope for one, most probable first.

        Parameters
        ----------
        uid : str
            A soma of either microscope.
        k : int
            How many candidates at most.
        model : str, optional
            The project's current one unless given.

        Returns
        -------
        DataFrame
            Index ``rank``; columns ``uid, z_um, y_um, x_um, similarity, residual_um,
            probability, in_set``; NaN where unknown. ``attrs`` holds ``p_none``, ``basis``
            ("probability", "appearance" or "distance"), ``model`` and ``note``.

        Raises
        ------
        InputError
            If the soma is unknown or there is nothing to rank.
        """
        from napari_neurobridge.workflows.rank import rank_cell

        return ranking_table(rank_cell(self.folder, uid, k, model=model))

    def match(self, *, images: bool = True, model: str | None = None) -> MatchResult:
        """Match all cells at once, from the accepted pairs outward.

        Parameters
        ----------
        images : bool
            Use what the crops say, where both sides are completely indexed.
        model : str, optional
            The project's current one unless given.

        Raises
        ------
        InputError
            If there is no accepted pair, and the constellation of the cells does not tell.
        """
        from napari_neurobridge.workflows.match import match_all

        return MatchResult(match_all(self.folder, model, images=images))

    def would_change(
        self, match: MatchResult, query_uid: str, candidate_uid: str, *, fdr: float = DEFAULT_FDR
    ) -> list[str]:
        """Return the cells of both sides that would change, should a pair be accepted.

        As the Match dock shows while the mouse rests on *accept*: nothing is recorded.

        Parameters
        ----------
        match : MatchResult
            Of the project as it is; pictures are used where it used them.
        query_uid, candidate_uid : str
            The pair, one soma of either side.
        fdr : float
            Share of the matched pairs that may be wrong.

        Raises
        ------
        InputError
            If a soma does not live, or both lie in one dataset.
        """
        from napari_neurobridge.project.log.events import default_annotator
        from napari_neurobridge.workflows.consequence import consequence_of
        from napari_neurobridge.workflows.match import named_encoder

        before = match.match
        # As "compact@1f2e…": which model it was, and of which weights.
        model = before.model.partition("@")[0]
        found = consequence_of(
            self.folder,
            before,
            Judgement(Verdict.ACCEPT, query_uid, candidate_uid),
            fdr,
            encoder=named_encoder(self.folder, model) if model else None,
            annotator=default_annotator(),
        )
        return sorted(found.uids)

    def map_points(
        self, points_um: npt.ArrayLike, source: str, target: str
    ) -> npt.NDArray[np.float64]:
        """Map points (N, 3), µm (z, y, x), between two datasets' spaces by the current alignment.

        ``folder.alignment(source, target).made_from`` says what that rests on.
        """
        return self.folder.map_points(points_um, source, target)

    def export_transform(
        self,
        path: str | Path,
        transform_format: str,
        *,
        source: str | None = None,
        target: str | None = None,
        ngff_version: str = "0.5",
        step_um: float | None = None,
    ) -> TransformFile:
        """Write the current map between two datasets for another program.

        Parameters
        ----------
        path : str or Path
            File, OME-Zarr folder (``.zarr``), or a folder for a file named after the datasets.
        transform_format : str
            "ngff", "itk", or "bigwarp": the accepted pairs as landmarks.
        source, target : str, optional
            Points of the first go to the second; in ITK's and BigWarp's words the first is fixed
            and the second moving. The in-vivo and the ex-vivo dataset unless given.
        ngff_version : str
            "0.5", which says scale and translation only, or "0.6".
        step_um : float, optional
            Distance of the nodes of a map on a grid.

        Raises
        ------
        InputError
            If the format cannot say the map, or a dataset is unknown.
        """
        from napari_neurobridge.workflows.transforms import TransformRequest, export_transform

        request = TransformRequest(source, target, ngff_version, step_um)
        return export_transform(self.folder, Path(path), transform_format, request)

    def read_transform(
        self, path: str | Path, source: str, target: str, *, unit: str = "µm"
    ) -> Transform:
        """Read a map between two datasets from OME-NGFF or an ITK transform in ``unit``.

        ``map_points`` of the result takes and gives µm, (z, y, x); the project stays as it is.

        Raises
        ------
        InputError
            If the file cannot be read, or is evidently in another unit.
        """
        from napari_neurobridge.workflows.transforms import read_transform

        return read_transform(self.folder, Path(path), source, target, unit=unit)

    # --- models --------------------------------------------------------------------------------

    def train(
        self, strategy: str | None = None, *, epochs: int | None = None, model: str | None = None
    ) -> TrainingResult:
        """Fine-tune on the accepted pairs, and adopt the new model if it is better.

        Parameters
        ----------
        strategy : str, optional
            See ``neurobridge train --help``.
        epochs : int, optional
            How often each pair is seen.
        model : str, optional
            What to start from; the project's current one unless given.

        Raises
        ------
        InputError
            If there are fewer than six pairs, or a dataset has no image.
        """
        from napari_neurobridge.training.fine_tune import FineTuneConfig
        from napari_neurobridge.workflows.train import train_project

        config = FineTuneConfig() if strategy is None else FineTuneConfig(strategy=strategy)
        return train_project(self.folder, config, model=model, epochs=epochs)

    def evaluate(self, model: str | None = None) -> EvaluationResult:
        """Measure how often a model finds the partners of the accepted pairs.

        Raises
        ------
        InputError
            If there are too few pairs, or a dataset has no image.
        """
        from napari_neurobridge.workflows.index import load_encoder
        from napari_neurobridge.workflows.pair_crops import accepted_pairs

        if not len(self.pairs()):
            raise InputError("There are no accepted pairs to evaluate on.")
        pairs = accepted_pairs(self.folder)
        return EvaluationResult.of(load_encoder(self.folder, model), pairs)
