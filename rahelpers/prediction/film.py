"""From a film's file to an answer, in the same way for the panel and for a folder of films."""

from __future__ import annotations

import dataclasses
import io
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

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

Status = Literal["answered", "abstained", "refused", "unreadable", "error"]
DOES_NOT_KNOW = "the model does not know"
UNKNOWN_SIDE = (
    "the file does not say which hand it shows, and it is read as a left hand. Choose the side if"
    " it is a right hand"
)


# ---- what is known about a hand


@dataclass(frozen=True)
class DicomReference:
    """The UIDs of a film: they say nothing about a person, and go only into a Secondary Capture."""

    study: str
    series: str
    instance: str
    sop_class: str


@dataclass(frozen=True, kw_only=True)
class HandFilm:
    """One hand of one file, as read and as the network gets it.

    Attributes
    ----------
    file : str
        Its name, for messages.
    place : str
        left, right, upper or lower on a film of two hands; '' if there is one hand.
    film : Radiograph
        The complete film, with the laterality of this hand.
    seen : NetworkInput
    findings : tuple of Finding
        What quality control found, the most severe first.
    refusal : Refusal or None
        Why the network must not be asked.
    reference : DicomReference or None
        If the file is DICOM and has all its UIDs.
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
        """What a person should check, in words."""
        unknown = () if self.film.laterality else (UNKNOWN_SIDE,)
        return (
            *(f.words for f in self.findings if f.action != "exclude"),
            *unknown,
            *self.film.provenance.notes,
        )


@dataclass(frozen=True, kw_only=True)
class FilmResult:
    """The model's answer about one hand, or the reason why there is none.

    Attributes
    ----------
    file, place : str
        See HandFilm.
    status : Status
        answered; abstained (there is a probability, but it should not be relied on); refused (by
        quality control, or because there is no hand); unreadable (not a radiograph); error (a fault
        of this program).
    info : dict
        The content of the bundle's `bundle.json`.
    reasons : tuple of str
        Why there is no answer.
    hand : HandFilm or None
    logit, probability : float or None
        Of the positive class; the probability is calibrated.
    positive : bool or None
        Whether the probability is at or above the operating point.
    call : str
        Name of the class that the operating point gives.
    answer : str
        Name of the only class in the conformal set, or why the model does not know.
    distribution : OutOfDistribution or None
    similar : tuple of SimilarFilm
    heatmap : float32 array (S, S) in [0, 1] or None
        If it was asked for.
    heatmap_name : str
        Its method and layer.
    flat : bool
        Whether no area of the heat map is evidence for the positive class.
    regions, shap : Regions and RegionShap, or None
        Regions of the square and their Shapley values, if they were asked for.

    Examples
    --------
    >>> from rahelpers import load_bundle
    >>> from rahelpers.prediction import FilmResult
    >>> info = load_bundle(run.file("train", "bundle")).info
    >>> result = FilmResult(file="both.png", place="left", status="refused", info=info)
    >>> result.name, result.probability is None
    ('both.png, left hand', True)
    """

    file: str
    place: str = ""
    status: Status
    info: dict[str, Any]
    reasons: tuple[str, ...] = ()
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
        """Name of the file, and of the hand if there are two."""
        return f"{self.file}, {self.place} hand" if self.place else self.file

    def require_hand(self) -> HandFilm:
        """Return the film of this hand, or raise `ValueError` if the file could not be read."""
        if self.hand is None:
            raise ValueError(
                f"{self.file} is {self.status}, so there is no film to show: expected a result with"
                " a film"
            )
        return self.hand

    def require_regions(self) -> tuple[Regions, RegionShap]:
        """Return regions and their Shapley values, or raise `ValueError` if there are none."""
        if self.regions is None or self.shap is None:
            raise ValueError(f"{self.file}: expected a result with regions and Shapley values")
        return self.regions, self.shap


# ---- one film


def read_hands(
    source: Path | bytes, name: str, info: dict[str, Any], side: str = ""
) -> list[HandFilm]:
    """Read the hands on a film, each as the bundle's network takes it.

    Parameters
    ----------
    source : path or bytes
        PNG, JPEG, TIFF, BMP or DICOM. The content decides, not the name.
    name : str
        Of the file, for messages.
    info : dict
        The content of `bundle.json`.
    side : {'', 'L', 'R'}
        Laterality, if a person knows better than the file. Not used if the film shows two hands.

    Raises
    ------
    RadiographError
        If the file is not a radiograph that can be read; the message is for the person who chose
        it.

    Examples
    --------
    >>> from rahelpers import load_bundle
    >>> from rahelpers.phantom import make_dicom, make_patient, render
    >>> from rahelpers.prediction import read_hands
    >>> patient = make_patient(3, 1)
    >>> file = make_dicom(render(patient, "L", size=256), patient)
    >>> info = load_bundle(run.file("train", "bundle")).info
    >>> [(hand.film.laterality, hand.seen.image.shape) for hand in read_hands(file, "a.dcm", info)]
    [('L', (48, 48))]
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
    """Pass a hand that was found on a film through quality control and the gate."""
    findings = tuple(check_film(film, seen, place))
    shown = f"{file} ({place} hand)" if place else file
    return HandFilm(
        file=file,
        place=place,
        film=film,
        seen=seen,
        findings=findings,
        refusal=refuse_film(shown, findings, seen),
        reference=reference,
    )


def _read_reference(source: Path | bytes) -> DicomReference | None:
    tags = ["StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID"]
    file = io.BytesIO(source) if isinstance(source, bytes) else source
    try:
        dataset = pydicom.dcmread(file, force=True, stop_before_pixels=True, specific_tags=tags)
        found = [pydicom.uid.UID(str(dataset.get(tag, ""))) for tag in tags]
    except Exception:  # pydicom's errors are of many kinds; the film itself has been read
        return None
    return DicomReference(*map(str, found)) if all(uid.is_valid for uid in found) else None


def answer_hand(bundle: Bundle, known: Familiarity, hand: HandFilm) -> FilmResult:
    """Answer one hand, with one pass through the network.

    Parameters
    ----------
    bundle : Bundle
    known : Familiarity
        `rahelpers.network.load_familiarity(bundle)`.
    hand : HandFilm

    Examples
    --------
    >>> from rahelpers import answer_hand, load_bundle
    >>> from rahelpers.network import load_familiarity
    >>> from rahelpers.phantom import make_dicom, make_patient, render
    >>> from rahelpers.prediction import read_hands
    >>> patient, bundle = make_patient(3, 1), load_bundle(run.file("train", "bundle"))
    >>> file = make_dicom(render(patient, "L", size=256), patient)
    >>> hand = read_hands(file, "a.dcm", bundle.info)[0]
    >>> result = answer_hand(bundle, load_familiarity(bundle), hand)
    >>> result.status in ("answered", "abstained"), 0 <= result.probability <= 1
    (True, True)
    """
    info = bundle.info
    if hand.refusal:
        why = f"{hand.refusal.reason}. {hand.refusal.advice}"
        return FilmResult(
            file=hand.file,
            place=hand.place,
            status="refused",
            info=info,
            reasons=(why,),
            hand=hand,
        )

    # what the network computes: the logit, and the features before it
    logits, features = familiarity.extract_features(bundle.model, hand.seen.image[None])
    probability = float(bundle.probability(logits)[0])
    positive = probability >= info["operating_point"]["probability"]
    call = info["class_names"][int(positive)]

    # reasons to abstain: the film is unlike the training films, or its conformal set is not one
    # class
    distribution = known.judge(features[0])
    answer, unclear = _answer_conformally(probability, info)
    reasons = [distribution.words] if distribution.unlike else []
    reasons += [unclear] if unclear else []
    return FilmResult(
        file=hand.file,
        place=hand.place,
        status="abstained" if reasons else "answered",
        info=info,
        reasons=tuple(reasons),
        hand=hand,
        logit=float(logits[0]),
        probability=probability,
        positive=positive,
        call=call,
        answer=answer,
        distribution=distribution,
        similar=tuple(known.neighbours(features[0])),
    )


def _answer_conformally(probability: float, info: dict[str, Any]) -> tuple[str, str]:
    """The answer of the conformal set, and why the model abstains, or ''."""
    inside = predict_sets(np.array([probability]), info["conformal"])[0]
    negative, positive = info["class_names"]
    if inside.sum() == 1:
        return (positive if inside[1] else negative), ""
    unclear = (
        f"both {negative} and {positive} fit this film"
        if inside.all()
        else f"neither {negative} nor {positive} fits this film"
    )
    return f"{DOES_NOT_KNOW}: {unclear}", unclear


def add_heatmap(bundle: Bundle, result: FilmResult) -> FilmResult:
    """Add the Grad-CAM map to a result; it stays as it is if the network was not asked.

    Examples
    --------
    >>> from rahelpers import answer_hand, load_bundle
    >>> from rahelpers.network import load_familiarity
    >>> from rahelpers.phantom import make_dicom, make_patient, render
    >>> from rahelpers.prediction import add_heatmap, read_hands
    >>> patient, bundle = make_patient(3, 1), load_bundle(run.file("train", "bundle"))
    >>> file = make_dicom(render(patient, "L", size=256), patient)
    >>> hand = read_hands(file, "a.dcm", bundle.info)[0]
    >>> result = answer_hand(bundle, load_familiarity(bundle), hand)
    >>> add_heatmap(bundle, result).heatmap.shape
    (48, 48)
    """
    if result.hand is None or result.probability is None:
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
    """List everything below a folder that is no folder, sorted, without hidden files.

    Whether a file is a radiograph is decided later, by its content. Links are followed, but into
    each folder only once. A link to nothing and a folder that cannot be read are listed as well:
    reading them gives the reason, so that a table of results leaves out nothing.

    Raises
    ------
    ValueError
        If there is no such folder, or it holds no file.
    """
    if not folder.is_dir():
        raise ValueError(f"{folder}: there is no such folder; expected a folder of films")
    files: list[Path] = []
    entered = {folder.resolve()}

    def keep(error: OSError) -> None:
        files.append(Path(error.filename))

    for place, folders, names in os.walk(folder, followlinks=True, onerror=keep):
        files += [Path(place, name) for name in names if not name.startswith(".")]
        # into each folder once, whatever links lead to it
        inside = {name: Path(place, name).resolve() for name in sorted(folders)}
        folders[:] = []
        for name, target in inside.items():
            if not name.startswith(".") and target not in entered:
                entered.add(target)
                folders.append(name)
    if not files:
        raise ValueError(
            f"{folder}: the folder is empty; expected films, PNG, JPEG, TIFF, BMP or DICOM"
        )
    return sorted(files)


def count_hidden(folder: Path) -> int:
    """Count the files below a folder that `find_film_files` passes over: their names, or the names
    of their folders, begin with a dot.
    """
    return sum(
        any(part.startswith(".") for part in Path(place, name).relative_to(folder).parts)
        for place, _, names in os.walk(folder)
        for name in names
    )


def predict_films(
    bundle: Bundle,
    files: Iterable[Path],
    root: Path | None = None,
    side: str = "",
    heatmaps: bool = False,
) -> Iterator[FilmResult]:
    """Yield one result for each hand of each file; a bad film is a result too and stops nothing.

    Parameters
    ----------
    bundle : Bundle
    files : iterable of Path
    root : Path, optional
        Name files by their path below this folder; otherwise only by their name.
    side : {'', 'L', 'R'}
        If all films are of that side and do not say so.
    heatmaps : bool
        Also compute Grad-CAM of each hand.

    Examples
    --------
    >>> from rahelpers import load_bundle, predict_films
    >>> bundle, path = load_bundle(run.file("train", "bundle")), run.folder / "config.json"
    >>> for result in predict_films(bundle, [path]):
    ...     result.status, result.file
    ('unreadable', 'config.json')
    """
    known = familiarity.load_familiarity(bundle)
    for file in show_progress(list(files), "films"):
        name = str(file.relative_to(root)) if root else file.name
        try:
            for hand in read_hands(file, name, bundle.info, side):
                result = answer_hand(bundle, known, hand)
                yield add_heatmap(bundle, result) if heatmaps else result
        except RadiographError as error:
            shown = quote_name(name)
            why = str(error).removeprefix(f"{shown}: ")
            yield FilmResult(file=shown, status="unreadable", info=bundle.info, reasons=(why,))
        except Exception as error:  # a fault of this program in one film must not stop the others
            why = f"{type(error).__name__}: {error}"
            yield FilmResult(
                file=quote_name(name), status="error", info=bundle.info, reasons=(why,)
            )


def to_row(result: FilmResult) -> dict[str, Any]:
    """Turn a result into one row of a table: only text and numbers, and None if not known."""
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
