"""What the panel knows: plain frozen values. Callbacks replace them, views read them, nothing else
holds state.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from rahelpers.films.gate import Refusal

if TYPE_CHECKING:  # these modules start TensorFlow, the panel's page does not
    from rahelpers.explanation.regions import Regions
    from rahelpers.explanation.shap_step import RegionShap
    from rahelpers.prediction.film import FilmResult, HandFilm

BANNER = "Education and research only. Not for diagnosis or treatment."
METHOD_NAMES = {"gradcam": "Grad-CAM", "hirescam": "HiResCAM", "gradcam++": "Grad-CAM++"}
SIDES = {"L": "left", "R": "right", "": "not known"}


@dataclass(frozen=True)
class Picture:
    """One hand, ready for eye and network.

    Attributes
    ----------
    name : str
        What the person calls it: the file's name, or which sample it is.
    hand : HandFilm
    shown : uint16 array (h, w), 0 to 4095
        The film as read, bone bright; for the viewer.
    matrix : float array (2, 3)
        Pixel (x, y, 1) of the network's square -> pixel of `shown`.
    width, height : int
        Of the film, pixels.
    spacing_mm : float or None
        Of a pixel of the film.
    shown_spacing_mm : float or None
        Of a pixel of `shown`.
    side_from : str
        Who says which hand it is.
    joints : DataFrame
        Joint table, boxes as fractions of the square: as marked, or as located by
        `rahelpers.films.joints`; empty where neither is there.
    marked : bool
        The joints are marked; else they are located.
    truth : int or None
        The label, where it is known.
    patient : str
        Of a test sample.
    """

    name: str
    hand: HandFilm
    shown: np.ndarray
    matrix: np.ndarray
    width: int
    height: int
    spacing_mm: float | None = None
    shown_spacing_mm: float | None = None
    side_from: str = ""
    joints: pd.DataFrame = field(default_factory=pd.DataFrame)
    marked: bool = True
    truth: int | None = None
    patient: str = ""

    @property
    def image(self) -> np.ndarray:
        """The film as the network gets it, uint8 (S, S)."""
        return self.hand.seen.image

    @property
    def refusal(self) -> Refusal | None:
        """Why the network is not asked."""
        return self.hand.refusal

    @property
    def laterality(self) -> str:
        """L, R or ''."""
        return self.hand.film.laterality


@dataclass(frozen=True)
class Heat:
    """A heat map: uint8 values (S, S), its method and layer; flat where no place speaks for the
    class.
    """

    values: np.ndarray
    flat: bool
    method: str
    layer: str


@dataclass(frozen=True)
class HandState:
    """A hand and what is known of it so far; None is not known yet."""

    picture: Picture
    result: FilmResult | None = None
    heat: Heat | None = None
    regions: Regions | None = None
    shap: RegionShap | None = None

    @property
    def answered(self) -> bool:
        """The network gave a probability."""
        return self.result is not None and self.result.probability is not None

    @property
    def unlike(self) -> bool:
        """The film is unlike the training films."""
        return (
            self.answered
            and self.result.distribution is not None
            and self.result.distribution.unlike
        )

    @property
    def shown_result(self) -> FilmResult:
        """The result with the explanations that are on the page: what a person saves is what they
        see.
        """
        heat = self.heat
        if heat is None:
            return self.result
        name = f"{METHOD_NAMES[heat.method]}, layer {heat.layer}"
        return replace(
            self.result,
            heatmap=heat.values / np.float32(255),
            heatmap_name=name,
            flat=heat.flat,
            regions=self.regions,
            shap=self.shap,
        )


@dataclass(frozen=True)
class StudyState:
    """The films of one reading.

    Attributes
    ----------
    hands : tuple of HandState
    current : int
        The one that is shown large.
    refused : tuple of Refusal
        Files that could not be read at all.
    prevalence : float in (0, 1)
    revealed : bool
        The truth of the samples is shown.
    progress : float in [0, 1] or None
        None: nothing is going on.
    doing : str
        What is going on, or how it ended.
    """

    hands: tuple[HandState, ...] = ()
    current: int = 0
    refused: tuple[Refusal, ...] = ()
    prevalence: float = 0.1
    revealed: bool = False
    progress: float | None = None
    doing: str = ""

    @property
    def hand(self) -> HandState | None:
        """The hand that is shown large."""
        return self.hands[self.current] if self.hands else None


MAX_BYTES = 50_000_000  # of one file
MAX_FILES = 8  # of one study
SHOWN_PX = 1000  # long side of the film in the viewer
TOP = 4095  # the viewer's brightest grey: 12 bit, as most detectors have
