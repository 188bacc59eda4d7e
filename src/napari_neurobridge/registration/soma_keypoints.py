"""Cell bodies as keypoints."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from napari_neurobridge.detection.dog import DogParams, detect_somata
from napari_neurobridge.io.volumes import Volume
from napari_neurobridge.registration.keypoints import Keypoints

if TYPE_CHECKING:
    from napari_neurobridge.registration.keypoints import Describer, PlanarImage


@dataclass(frozen=True, eq=False)
class SomaExtractor:
    """Somata of a plane, as :func:`napari_neurobridge.detection.dog.detect_somata` finds them.

    Attributes
    ----------
    describer : Describer, optional
        What describes them; without one, descriptors have no components, for matching by place.
    params : DogParams
        What counts as a soma.
    """

    describer: Describer | None = None
    params: DogParams = field(default_factory=DogParams)

    @property
    def name(self) -> str:
        """What finds and what describes."""
        return "somata" if self.describer is None else f"somata + {self.describer.name}"

    def extract(self, image: PlanarImage, count: int) -> Keypoints:
        """Return at most ``count`` somata, the most confident first.

        Parameters
        ----------
        image : PlanarImage
            Of any pixel size.
        count : int

        Returns
        -------
        Keypoints
            Scored by the detection's confidence. Finding nothing is no error.
        """
        pixel = image.pixel_um
        plane = Volume([image.values[None]], name="the image", voxel_size_um=(pixel, pixel, pixel))
        somata = detect_somata(plane, self.params)
        found = Keypoints.at(somata.centers_um[:, 1:], scores=somata.confidence).strongest(count)
        if self.describer is None:
            return found
        return replace(found, descriptors=self.describer.describe(image, found.positions_um))
