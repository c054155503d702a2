"""From a file that somebody brings to an answer: one way, for the panel and for a folder of films."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pydicom

from rahelpers import __version__
from rahelpers.core.progress import show_progress
from rahelpers.explanation.gradcam import compute_gradcam
from rahelpers.explanation.regions import Regions
from rahelpers.explanation.shap_step import RegionShap
from rahelpers.films.gate import Refusal, refuse_film
from rahelpers.films.normalisation import NetworkInput
from rahelpers.films.quality import Finding, check_film
from rahelpers.films.radiograph import Radiograph, RadiographError, quote_name
from rahelpers.films.reading import read_radiograph
from rahelpers.films.two_hands import cut_hands
from rahelpers.network import familiarity
from rahelpers.network.bundle import Bundle
from rahelpers.network.familiarity import Familiarity, OutOfDistribution, SimilarFilm
from rahelpers.scores.conformal import predict_sets

STATUSES = ("answered", "abstained", "refused", "unreadable", "error")
DOES_NOT_KNOW = "the model does not know"
UNKNOWN_SIDE = (
    "the file does not say which hand it is; it is read as a left one. Choose the side if it is a"
    " right one"
)


@dataclass(frozen=True)
class DicomReference:
    """Which object of which study a film is. Numbers alone, nothing about a person; they go into a
    Secondary Capture and nowhere else.
    """

    study: str
    series: str
    instance: str
    sop_class: str


@dataclass(frozen=True)
class HandFilm:
    """One hand of one file, as read and as the network gets it.

    Attributes
    ----------
    file : str
        Its name, for messages.
    place : str
        left, right, upper or lower on a film of two hands; '' where it shows one.
    film : Radiograph
        The whole film, with this hand's laterality.
    seen : NetworkInput
    findings : tuple of Finding
        What quality control found, the severest first.
    refusal : Refusal or None
        Why the network must not be asked.
    reference : DicomReference or None
        Where the file is DICOM and says so.
    """

    file: str
    place: str
    film: Radiograph
    seen: NetworkInput
    findings: tuple[Finding, ...] = ()
    refusal: Refusal | None = None
    reference: DicomReference | None = None

    @property
    def notes(self) -> tuple[str, ...]:
        """What a person should look at, in words."""
        unknown = () if self.film.laterality else (UNKNOWN_SIDE,)
        return (
            *(f.words for f in self.findings if f.action != "exclude"),
            *unknown,
            *self.film.provenance.notes,
        )


@dataclass(frozen=True)
class FilmResult:
    """What the model says of one hand, or why it says nothing.

    Attributes
    ----------
    file, place : str
        See HandFilm.
    status : str
        answered; abstained (there is a probability, but the model should not be relied on); refused
        (by quality control, or no hand); unreadable (no radiograph); error (a fault of this
        program, reported with its words).
    reasons : tuple of str
        Why it is not answered.
    hand : HandFilm or None
    logit, probability : float or None
        Of the positive class; the probability is calibrated.
    positive : bool or None
        At or above the operating point.
    call : str
        Name of the class at the operating point.
    answer : str
        Name of the one class that the conformal set holds, or that the model does not know, and
        why.
    distribution : OutOfDistribution or None
    similar : tuple of SimilarFilm
    heatmap : float32 array (S, S) in [0, 1] or None
        Where it was asked for.
    heatmap_name : str
        Its method and layer.
    flat : bool
        No place speaks for the positive class.
    regions, shap : Regions and RegionShap, or None
        Regions of the square and their Shapley values, where they were asked for.
    info : dict
        The content of the bundle's `bundle.json`.
    """

    file: str
    status: str
    info: dict[str, Any]
    reasons: tuple[str, ...] = ()
    place: str = ""
    hand: HandFilm | None = None
    logit: float | None = None
    probability: float | None = None
    positive: bool | None = None
    call: str = ""
    answer: str = ""
    distribution: OutOfDistribution | None = None
    similar: tuple[SimilarFilm, ...] = ()
    heatmap: np.ndarray | None = None
    heatmap_name: str = ""
    flat: bool = False
    regions: Regions | None = None
    shap: RegionShap | None = None

    @property
    def name(self) -> str:
        """The file, and which of its hands."""
        return f"{self.file}, {self.place} hand" if self.place else self.file


# ---- one film


def read_hands(
    source: Path | bytes, name: str, info: dict[str, Any], side: str = ""
) -> list[HandFilm]:
    """The hands on a file, each as the bundle's network takes it.

    Parameters
    ----------
    source : path or bytes
        PNG, JPEG, TIFF, BMP or DICOM; the content decides.
    name : str
        Of the file, for messages.
    info : dict
        The content of `bundle.json`.
    side : str
        L or R where the person knows better than the file; else empty. Not used where the film
        shows two hands.

    Raises
    ------
    RadiographError
        If the file is no radiograph that can be read; the message is for the person who chose it.
    """
    if side not in ("", "L", "R"):
        raise ValueError(f"side={side!r}: expected L, R or nothing")
    film = read_radiograph(source, name)
    film = dataclasses.replace(film, laterality=side or film.laterality)
    reference = _read_reference(source) if film.provenance.format == "DICOM" else None
    return [
        take_hand(quote_name(name), hand.film, hand.seen, hand.place, reference)
        for hand in cut_hands(film, info["image_size"], info["mirror_right"])
    ]


def take_hand(
    file: str,
    film: Radiograph,
    seen: NetworkInput,
    place: str = "",
    reference: DicomReference | None = None,
) -> HandFilm:
    """A hand that was found on a film, after quality control and the gate."""
    findings = tuple(check_film(film, seen, place))
    shown = f"{file} ({place} hand)" if place else file
    return HandFilm(
        file, place, film, seen, findings, refuse_film(shown, findings, seen), reference
    )


def _read_reference(source: Path | bytes) -> DicomReference | None:
    tags = ["StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID"]
    file = io.BytesIO(source) if isinstance(source, bytes) else source
    dataset = pydicom.dcmread(file, force=True, stop_before_pixels=True, specific_tags=tags)
    found = [pydicom.uid.UID(str(dataset.get(tag, ""))) for tag in tags]
    return DicomReference(*map(str, found)) if all(uid.is_valid for uid in found) else None


def answer_hand(bundle: Bundle, known: Familiarity, hand: HandFilm) -> FilmResult:
    """What the model says of one hand, from one pass through the network.

    Parameters
    ----------
    bundle : Bundle
    known : Familiarity
        `rahelpers.network.familiarity.load_familiarity(bundle)`.
    hand : HandFilm
    """
    info = bundle.info
    if hand.refusal:
        return FilmResult(
            hand.file,
            "refused",
            info,
            (f"{hand.refusal.reason}. {hand.refusal.advice}",),
            hand.place,
            hand,
        )
    logits, features = familiarity.extract_features(bundle.model, hand.seen.image[None])
    probability = float(bundle.probability(logits)[0])
    positive = probability >= info["operating_point"]["probability"]
    call = info["class_names"][int(positive)]
    distribution = known.judge(features[0])
    answer, silent = _speak(probability, call, info)
    reasons = (
        *([distribution.words] if distribution.unlike else []),
        *([silent] if silent else []),
    )
    similar = tuple(known.neighbours(features[0]))
    return FilmResult(
        hand.file,
        "abstained" if reasons else "answered",
        info,
        reasons,
        hand.place,
        hand,
        float(logits[0]),
        probability,
        positive,
        call,
        answer,
        distribution,
        similar,
    )


def _speak(probability: float, call: str, info: dict[str, Any]) -> tuple[str, str]:
    """The conformal answer, and why the model keeps silent; '' where it does not."""
    inside = predict_sets(np.array([probability]), info["conformal"])[0]
    if inside.sum() == 1:
        return info["class_names"][int(inside[1])], ""
    both = " and ".join(info["class_names"])
    silent = f"both {both} fit this film" if inside.all() else f"neither of {both} fits this film"
    return f"{DOES_NOT_KNOW}: {silent}", silent


def add_heatmap(bundle: Bundle, result: FilmResult) -> FilmResult:
    """The result with its Grad-CAM map; unchanged where the film was not looked at."""
    if result.probability is None:
        return result
    layer = bundle.info["gradcam_layer"]
    found = compute_gradcam(bundle.model, result.hand.seen.image[None], layer)
    return dataclasses.replace(
        result,
        heatmap=found.maps[0],
        heatmap_name=f"Grad-CAM, layer {layer}",
        flat=bool(found.flat[0]),
    )


# ---- a folder


def find_film_files(folder: Path) -> list[Path]:
    """Every file under a folder, sorted; hidden ones are left out. Which of them are radiographs,
    their content says.

    Raises
    ------
    ValueError
        If there is no such folder, or it holds no file.
    """
    if not folder.is_dir():
        raise ValueError(f"{folder}: expected a folder of films; there is none")
    files = [
        p
        for p in sorted(folder.rglob("*"))
        if p.is_file() and not any(part.startswith(".") for part in p.relative_to(folder).parts)
    ]
    if not files:
        raise ValueError(
            f"{folder}: expected films, PNG, JPEG, TIFF, BMP or DICOM; the folder is empty"
        )
    return files


def predict_films(
    bundle: Bundle,
    files: Iterable[Path],
    root: Path | None = None,
    side: str = "",
    heatmaps: bool = False,
) -> Iterator[FilmResult]:
    """One result for each hand of each file, as they come; a bad film is a result too, and never
    stops the rest.

    Parameters
    ----------
    bundle : Bundle
    files : iterable of Path
    root : Path, optional
        Files are called by their path below it; else by their name alone.
    side : str
        L or R where all films are of that side and do not say so.
    heatmaps : bool
        Also Grad-CAM of each hand.
    """
    known, files = familiarity.load_familiarity(bundle), list(files)
    for file in show_progress(files, "films"):
        name = str(file.relative_to(root)) if root else file.name
        try:
            for hand in read_hands(file, name, bundle.info, side):
                result = answer_hand(bundle, known, hand)
                yield add_heatmap(bundle, result) if heatmaps else result
        except RadiographError as error:
            yield FilmResult(
                quote_name(name),
                "unreadable",
                bundle.info,
                (str(error).removeprefix(f"{quote_name(name)}: "),),
            )
        # whatever is wrong with one film, the others get their answer; the row says what it was
        except Exception as error:
            yield FilmResult(
                quote_name(name), "error", bundle.info, (f"{type(error).__name__}: {error}",)
            )


def to_row(result: FilmResult) -> dict[str, Any]:
    """A result as one row of a table: text, numbers and nothing else; None where not known."""
    hand, distribution = result.hand, result.distribution
    return {
        "file": result.file,
        "hand": result.place,
        "status": result.status,
        "reason": "; ".join(result.reasons),
        "findings": "; ".join(hand.notes) if hand else "",
        "laterality": hand.film.laterality if hand else "",
        "spacing_mm": hand.film.spacing_mm if hand else None,
        "probability": None if result.probability is None else round(result.probability, 6),
        "logit": None if result.logit is None else round(result.logit, 6),
        "call": result.call,
        "operating_point": round(result.info["operating_point"]["probability"], 6),
        "answer": result.answer,
        "distance": None if distribution is None else round(distribution.score, 4),
        "distance_limit": None if distribution is None else round(distribution.threshold, 4),
        "unlike_training": None if distribution is None else distribution.unlike,
        "model": result.info["title"],
        "model_sha256": result.info["files"]["model.keras"],
        "rahelpers": __version__,
    }
