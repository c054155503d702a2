"""What the panel knows: plain frozen values and the panel's limits.

Callbacks replace the values and views read them; nothing else holds state.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from rahelpers.films.gate import Refusal

if TYPE_CHECKING:  # these modules start TensorFlow; the panel's page must not
    from rahelpers.explanation.regions import Regions
    from rahelpers.explanation.shap_step import RegionShap
    from rahelpers.prediction.film import FilmResult, HandFilm

METHOD_NAMES = {"gradcam": "Grad-CAM", "hirescam": "HiResCAM", "gradcam++": "Grad-CAM++"}
SIDES = {"L": "left", "R": "right", "": "not known"}
MAX_BYTES = 50_000_000  # per file
MAX_FILES = 8  # per study
SHOWN_PX = 1000  # long side of the film in the viewer
TOP = 4095  # the viewer's brightest grey: 12 bits, like most detectors


@dataclass(frozen=True, kw_only=True)
class Picture:
    """One hand, ready for the eye and for the network.

    Attributes
    ----------
    name : str
        What the person calls it: the file's name, or which sample it is.
    hand : HandFilm
    shown : uint16 array (h, w), 0 to 4095
        The film as read, bone bright; for the viewer.
    matrix : float array (2, 3)
        From a pixel (x, y, 1) of the network's square to a pixel of `shown`.
    width, height : int
        Size of the film in pixels.
    spacing_mm : float or None
        Pixel spacing of the film.
    shown_spacing_mm : float or None
        Pixel spacing of `shown`.
    side_from : str
        Where the side (left or right) comes from.
    joints : DataFrame
        Joint table, boxes as fractions of the square: marked, or located by
        `rahelpers.films.joints`; empty if neither is available.
    marked : bool
        The joints are marked; otherwise they were located.
    truth : int or None
        The label, if it is known.
    patient : str
        The patient of a test sample.
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
        """Why the network is not asked about this film; None if it is asked."""
        return self.hand.refusal

    @property
    def laterality(self) -> str:
        """L, R or ''."""
        return self.hand.film.laterality


@dataclass(frozen=True)
class Heat:
    """A heat map: uint8 values (S, S), its method and its layer.

    It is flat if no place holds evidence for the positive class.
    """

    values: np.ndarray
    flat: bool
    method: str
    layer: str


@dataclass(frozen=True)
class HandState:
    """A hand and what is known about it so far; None means not known yet."""

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
    def probability(self) -> float:
        """Calibrated probability of the positive class; NaN before it is `answered`."""
        found = self.result.probability if self.result is not None else None
        return float("nan") if found is None else found

    @property
    def logit(self) -> float:
        """Logit of the positive class; NaN before it is `answered`."""
        found = self.result.logit if self.result is not None else None
        return float("nan") if found is None else found

    @property
    def positive(self) -> bool:
        """The probability is at or above the operating point."""
        return self.result is not None and bool(self.result.positive)

    @property
    def unlike(self) -> bool:
        """The film is unlike the training films."""
        distribution = self.result.distribution if self.result is not None else None
        return self.answered and distribution is not None and distribution.unlike

    @property
    def distance_words(self) -> str:
        """How far the film is from the training films, in words."""
        distribution = self.result.distribution if self.result is not None else None
        return distribution.words if distribution is not None else ""

    @property
    def shown_result(self) -> FilmResult | None:
        """The result with the explanations on the page: what is saved is what is seen."""
        heat = self.heat
        if self.result is None or heat is None:
            return self.result
        return replace(
            self.result,
            heatmap=heat.values / np.float32(255),
            heatmap_name=f"{METHOD_NAMES[heat.method]}, layer {heat.layer}",
            flat=heat.flat,
            regions=self.regions,
            shap=self.shap,
        )


@dataclass(frozen=True, kw_only=True)
class StudyState:
    """The films that are being read together.

    Attributes
    ----------
    hands : tuple of HandState
    current : int
        Index of the hand that is shown large.
    refused : tuple of Refusal
        Files that could not be read at all.
    prevalence : float in (0, 1)
    revealed : bool
        The true labels of the samples are shown.
    progress : float in [0, 1] or None
        None if nothing is running.
    doing : str
        What is running, or how it ended.
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
