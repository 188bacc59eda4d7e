"""What comes into a project from tables and other programs; the first half of `OpenProject`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from napari_neurobridge.project.log.landmarks import (
    DEFAULT_SIGMA_UM,
    change_landmark,
    delete_landmarks,
    place_landmarks,
)
from napari_neurobridge.workflows.judgements import judge_all, read_judgements
from napari_neurobridge.workflows.landmarks import import_landmarks
from napari_neurobridge.workflows.pair_tables import WITHIN_UM

if TYPE_CHECKING:
    from collections.abc import Mapping

    from napari_neurobridge.project.folder import Project
    from napari_neurobridge.types import Vec3


class ProjectImports:
    """Imports; each method does what the command of its name does.

    Attributes
    ----------
    folder : Project
        What the library's own functions take.
    """

    folder: Project

    def somata(self, dataset: str) -> pd.DataFrame:
        """Return the somata of a dataset."""
        raise NotImplementedError

    def import_rois(
        self,
        path: str | Path,
        dataset: str,
        *,
        voxel_size_um: Vec3 | None = None,
        pixel_um: float | None = None,
        z_um: float | None = None,
        every: bool = False,
        min_probability: float | None = None,
    ) -> pd.DataFrame:
        """Import cells of ImageJ, suite2p, CaImAn, NWB, a label image or a CSV as somata.

        Parameters
        ----------
        path : str or Path
        dataset : str
            Where they lie; it needs no image.
        voxel_size_um : Vec3, optional
            µm (z, y, x) of the image in which they were found, where file and dataset do not
            say it; or ``pixel_um``, the same along y and x.
        pixel_um : float, optional
        z_um : float, optional
            Depth of their plane in the dataset.
        every : bool
            Also what the other program calls no cell.
        min_probability : float, optional
            suite2p's cells above this probability, not its own choice.

        Returns
        -------
        DataFrame
            What was imported, as `somata`.

        Raises
        ------
        InputError
            See `napari_neurobridge.workflows.rois.import_rois`.
        """
        from napari_neurobridge.io.rois.read import RoiReading
        from napari_neurobridge.io.rois.suite2p import Kept
        from napari_neurobridge.workflows.rois import RoiPlace, import_rois

        found = import_rois(
            self.folder,
            dataset,
            Path(path),
            place=RoiPlace(voxel_size_um, pixel_um, z_um),
            reading=RoiReading(Kept(every, min_probability)),
        )
        return self.somata(dataset).loc[[soma.uid for soma in found.somata]]

    def import_matches(self, path: str | Path, sessions: dict[str, int] | None = None) -> int:
        """Import another program's pairs as claims to review, and return how many there are.

        Nothing rests on a claim until somebody accepts the pair.

        Parameters
        ----------
        path : str or Path
            CellReg, ROICaT or Track2p, or a table of uids.
        sessions : dict of str to int, optional
            Which session of the file each of two datasets is, counted from 0.

        Raises
        ------
        InputError
            See `napari_neurobridge.workflows.claims.import_matches`.
        """
        from napari_neurobridge.workflows.claims import import_matches

        return import_matches(self.folder, Path(path), sessions).n_claims

    def import_points(self, path: str | Path, dataset: str) -> pd.DataFrame:
        """Add a CSV ``[uid,]z_um,y_um,x_um`` to the somata of a dataset, and return them.

        Raises
        ------
        InputError
            If the table cannot be read, the dataset is unknown, or a uid is taken.
        """
        from napari_neurobridge.workflows.setup import import_points

        somata = import_points(self.folder, dataset, Path(path))
        return self.somata(dataset).loc[[soma.uid for soma in somata]]

    def import_pairs(self, path: str | Path, *, force: bool = False) -> int:
        """Record the pairs of a table as verdicts, accepted unless a column ``verdict`` differs.

        Parameters
        ----------
        path : str or Path
            CSV that names two somata in each row by uids, or by places in µm within 3 µm of them.
        force : bool
            Also where a cell is paired already; that pair is revoked.

        Returns
        -------
        int
            How many verdicts were recorded.

        Raises
        ------
        InputError
            If the table cannot be read, or a row names no soma; nothing is recorded then.
        InvalidActionError
            If a pair contradicts one that is recorded, and ``force`` is not set.
        """
        judgements = read_judgements(self.folder, Path(path))
        judge_all(self.folder, judgements, force=force)
        return len(judgements)

    def import_landmarks(
        self,
        path: str | Path,
        *,
        fixed: str | None = None,
        moving: str | None = None,
        within_um: float = WITHIN_UM,
        sigma_um: float = DEFAULT_SIGMA_UM,
        force: bool = False,
    ) -> pd.DataFrame:
        """Accept the pairs of somata that BigWarp landmarks lie on; the others align as points.

        Parameters
        ----------
        path : str or Path
            As BigWarp saves it, in µm.
        fixed, moving : str, optional
            Datasets of its two images; the in-vivo and the ex-vivo one unless given.
        within_um : float
            How far a soma may lie from its landmark.
        sigma_um : float
            How exactly landmarks on no soma are known, standard deviation in µm.
        force : bool
            Also where a cell is paired already; that pair is revoked.

        Returns
        -------
        DataFrame
            Columns ``fixed_uid, moving_uid`` of the new pairs; ``attrs["points"]`` names the
            landmarks without a soma, and ``attrs["left_out"]`` says why each other is neither.

        Raises
        ------
        InputError
            If the table cannot be read, or no landmark is active and has both places.
        InvalidActionError
            If a soma has another partner, and ``force`` is not set; nothing is recorded then.
        """
        found = import_landmarks(
            self.folder,
            Path(path),
            fixed=fixed,
            moving=moving,
            within_um=within_um,
            sigma_um=sigma_um,
            force=force,
        )
        table = pd.DataFrame(list(found.pairs), columns=["fixed_uid", "moving_uid"])
        table.attrs["points"] = list(found.points)
        table.attrs["left_out"] = list(found.left_out)
        return table

    def landmarks(self) -> pd.DataFrame:
        """Return the landmarks that are no somata, such as branches of vessels.

        Index ``uid``; columns ``first_dataset, second_dataset``, their places ``first_z_um`` to
        ``second_x_um``, ``sigma_um``, ``annotator`` and ``time``.
        """
        axes = [f"{side}_{axis}_um" for side in ("first", "second") for axis in "zyx"]
        columns = ["first_dataset", "second_dataset", *axes, "sigma_um", "annotator", "time"]
        rows = {
            uid: (*m.datasets, *m.places_um[0], *m.places_um[1], m.sigma_um, m.annotator, m.time)
            for uid, m in self.folder.state().landmarks.living.items()
        }
        table = pd.DataFrame.from_dict(rows, orient="index", columns=columns)
        table.index.name = "uid"
        return table

    def add_landmark(
        self, places_um: Mapping[str, Vec3], *, sigma_um: float = DEFAULT_SIGMA_UM
    ) -> str:
        """Place a landmark that is no soma, and return its uid.

        Parameters
        ----------
        places_um : mapping of dataset to Vec3
            Two datasets, with its place in either, µm (z, y, x).
        sigma_um : float
            How exactly it is known, standard deviation in µm.

        Raises
        ------
        InputError
            If there are not two datasets, or a number is none.
        """
        places = {name: [place] for name, place in places_um.items()}
        return place_landmarks(self.folder, places, sigma_um=sigma_um)[0]

    def change_landmark(
        self,
        uid: str,
        *,
        places_um: Mapping[str, Vec3] | None = None,
        sigma_um: float | None = None,
    ) -> None:
        """Put a landmark elsewhere, or say how exactly it is known; see `add_landmark`."""
        change_landmark(self.folder, uid, places_um=places_um, sigma_um=sigma_um)

    def delete_landmark(self, uid: str) -> None:
        """Remove a landmark that is no soma."""
        delete_landmarks(self.folder, [uid])

    def claims(self) -> pd.DataFrame:
        """Return other programs' claims, and what people have said about them.

        Columns ``first_uid, second_uid, first_dataset, second_dataset, program, score, status``.
        """
        from napari_neurobridge.workflows.claims import review_claims

        columns = ["first_uid", "second_uid", "first_dataset", "second_dataset"]
        rows = [
            (*one.claim.pair, *one.claim.datasets, one.claim.program, one.claim.score, one.status)
            for one in review_claims(self.folder.state())
        ]
        return pd.DataFrame(rows, columns=[*columns, "program", "score", "status"])
