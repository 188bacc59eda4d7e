"""How a project's datasets are registered; a part of `OpenProject`."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from napari_neurobridge.matching.constellation.localise import Localisation
    from napari_neurobridge.project.folder import Project
    from napari_neurobridge.spaces.orientation import Orientation


class ProjectRegistration:
    """Registration; each method does what the command of its name does.

    Attributes
    ----------
    folder : Project
        What the library's own functions take.
    """

    folder: Project

    def register(
        self,
        *,
        apply: bool = False,
        orientation: Orientation | str | None = None,
    ) -> Localisation:
        """Find the two-photon field in the fMOST volume by its somata, without any pair.

        Parameters
        ----------
        apply : bool
            Let the project's alignment rest on it from now on, if it is accepted; accepted pairs
            refine it. Undo takes it back.
        orientation : Orientation or str, optional
            For this search alone: axes such as ``"+y+z-x"``, right to some 10° but for the angle
            about the optical axis. As the project states it unless given, else the same axes.

        Returns
        -------
        Localisation
            Map, evidence and decision; without a ``transform`` if it is refused.

        Raises
        ------
        InputError
            If a side has no somata, or the axes are none.
        """
        from napari_neurobridge.spaces.orientation import Orientation
        from napari_neurobridge.workflows.register import apply_registration, propose_registration

        stated = Orientation(axes=orientation) if isinstance(orientation, str) else orientation
        proposal = propose_registration(self.folder, orientation=stated)
        if apply and proposal.found.transform is not None:
            apply_registration(self.folder, proposal)
        return proposal.found
