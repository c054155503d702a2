"""Films that show the same hand, found by what they look like, whatever their names are.

There are two stages. A descriptor of the palm proposes pairs: it does not change when a copy has
another size, crop or exposure, or is mirrored. Local features (SIFT) then decide: two films of one
hand share dozens of details in the same arrangement, two hands that merely look similar share few.
Noise leaves few details on a film of low contrast; so palms decide too, where they are far more
alike than palms of this cohort are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, NamedTuple

import cv2
import numpy as np
import pandas as pd
from scipy.fft import dctn

from rahelpers.core.store import read_table
from rahelpers.films.normalisation import NetworkInput, normalise_intensity
from rahelpers.films.radiograph import Radiograph

PALM_RADII = 2.2  # half the window around the palm, in radii of the largest circle inside the hand
WINDOW = 96  # pixels
FREQUENCIES = 20  # of the window's cosine transform, in each direction
WHOLE_FREQUENCIES = 12  # the same of the whole film's
DETAIL_SIDE = 448  # long side of the film on which details are looked for, pixels
DETAILS = 300  # per film, the strongest
# Blur of the film before that, SD in its pixels: noise goes, and a copy that was blurred keeps what
# is left. On real films the details are better for it: different children share fewer, one child's
# two films share more.
SMOOTH = 1.5
WEAKEST = 0.005  # contrast of a detail
# a detail matches its nearest one if the distance is less than this share of the distance to the
# second nearest (Lowe, IJCV 2004;60:91, section 7.1)
RATIO = 0.8
TOLERANCE = 4.0  # pixels by which matched details may miss the common arrangement
NEIGHBOURS = 3  # pairs that each film proposes by its palm
# docs/curation.md has the figures that these limits rest on. Of the pairs that 900 real films
# proposed, those of different children share at most 28 details; those of two children who are
# listed under two numbers each share 75 and 84. Phantom hands come from one template: pairs of 140
# phantom patients share up to 48.
SAME_HAND = 55  # shared details from which two films count as one hand
LOOK_AT = 50  # shared details from which a person has to look
# How far two palms are apart, as a share of how far a palm of this cohort usually is from the
# nearest one that it does not propose.
SAME_PALM = 0.06  # share up to which two films count as one hand
LOOK_AT_PALM = 0.15  # share up to which a person has to look
LEAST_PALM = (
    0.97  # similarity of palms below which neither holds: a small cohort has few neighbours
)
SIMILAR_BITS = 12  # of 143 that differ at most; of 404,550 pairs of real films, three differ less
COMPARED = 4_000_000  # similarities held at once: 32 MB per table
SAME = ("same file", "same hand")  # verdicts that make two patients one
PAIR_COLUMNS = ["image_a", "patient_a", "image_b", "patient_b", "details", "bits_apart", "verdict"]

Pair = tuple[int, int, bool]  # rows of two films, and whether the first has to be mirrored


class Likeness(NamedTuple):
    """How alike a proposed pair is, before its details are compared.

    Attributes
    ----------
    bits : int
        How many of the 143 bits of the whole films differ.
    palm : float
        How far the palms are apart, as a share of what is usual in this cohort; infinity where that
        says nothing.
    """

    bits: int
    palm: float


@dataclass(frozen=True, kw_only=True)
class Fingerprint:
    """What a film is recognised by.

    Attributes
    ----------
    palm, palm_mirrored : float16 array (400,)
        Cosine transforms of the palm and of its mirror image, with local contrast evened out; unit
        vectors.
    whole, whole_mirrored : bool array (143,)
        Perceptual hashes of the whole film and of its mirror image: which low frequencies are above
        their median.
    points : float16 array (k, 2)
        Where the details are, x and y.
    details : uint8 array (k, 128)
        SIFT descriptors of the details.
    """

    palm: np.ndarray
    palm_mirrored: np.ndarray
    whole: np.ndarray
    whole_mirrored: np.ndarray
    points: np.ndarray
    details: np.ndarray


def compute_fingerprint(image: np.ndarray, hand: np.ndarray) -> Fingerprint:
    """Compute the fingerprint of a film.

    Parameters
    ----------
    image : float32 array (H, W)
        Upright, bone bright, grey values in [0, 1].
    hand : bool array (h, w)
        Where the hand is, at any size. All False where none was found; then the whole film is used.
    """
    image = normalise_intensity(image)
    palm = _palm_window(image, hand)
    whole = cv2.resize(image, (WINDOW, WINDOW), interpolation=cv2.INTER_AREA)
    points, details = _find_details(image, hand)
    return Fingerprint(
        palm=_describe(palm),
        palm_mirrored=_describe(palm[:, ::-1]),
        whole=_hash(whole),
        whole_mirrored=_hash(whole[:, ::-1]),
        points=points.astype(np.float16),
        details=details,
    )


def fingerprint_of(film: Radiograph, seen: NetworkInput) -> Fingerprint:
    """Compute the fingerprint of the part of a film in which its hand was looked for."""
    top, bottom, left, right = seen.window
    image = normalise_intensity(film.image[top:bottom, left:right])
    bone_bright = 1 - image if seen.inverted else image
    turns = seen.placement.quarter_turns
    upright = np.ascontiguousarray(np.rot90(bone_bright, turns))
    return compute_fingerprint(upright, np.rot90(seen.hand.mask, turns))


def _palm_window(image: np.ndarray, hand: np.ndarray) -> np.ndarray:
    """The palm, float32 (WINDOW, WINDOW).

    It is the neighbourhood of the largest circle inside the hand, which does not move when
    fingertips or forearm are cropped.
    """
    # middle and radius of the circle, in pixels of the film
    height, width = image.shape
    x, y, radius = width / 2, height / 2, max(height, width) / (2 * PALM_RADII)
    if hand.any():
        depth = cv2.distanceTransform(np.pad(hand, 1).astype(np.uint8), cv2.DIST_L2, 5)[1:-1, 1:-1]
        rows, columns = np.nonzero(depth > 0.93 * depth.max())
        scale = height / hand.shape[0]
        x, y = (columns.mean() + 0.5) * scale, (rows.mean() + 0.5) * scale
        radius = float(depth.max()) * scale

    # the window around it
    zoom = WINDOW / (2 * PALM_RADII * radius)
    move = np.array(
        [[zoom, 0, WINDOW / 2 - x * zoom], [0, zoom, WINDOW / 2 - y * zoom]], np.float32
    )
    smooth = cv2.GaussianBlur(image, (0, 0), max(0.3, 0.4 / zoom))
    return cv2.warpAffine(
        smooth, move, (WINDOW, WINDOW), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )


def _describe(window: np.ndarray) -> np.ndarray:
    window = np.ascontiguousarray(window)
    # even out local contrast, because exposure is not anatomy
    detail = window - cv2.GaussianBlur(window, (0, 0), 8)
    even = detail / np.sqrt(cv2.GaussianBlur(detail * detail, (0, 0), 8) + 1e-4)
    half = cv2.resize(even, (WINDOW // 2, WINDOW // 2), interpolation=cv2.INTER_AREA)
    found = dctn(half, norm="ortho")[:FREQUENCIES, :FREQUENCIES].ravel()
    return (found / max(float(np.linalg.norm(found)), 1e-9)).astype(np.float16)


def _hash(window: np.ndarray) -> np.ndarray:
    frequencies = dctn(np.ascontiguousarray(window), norm="ortho")
    low = frequencies[:WHOLE_FREQUENCIES, :WHOLE_FREQUENCIES].ravel()[1:]  # without the mean
    return low > np.median(low)


def _find_details(image: np.ndarray, hand: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Points (k, 2) and descriptors (k, 128) inside the hand.

    Only there, because two films from one room share their marker.
    """
    scale = DETAIL_SIDE / max(image.shape)
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    resized = cv2.resize(image, None, fx=scale, fy=scale, interpolation=method)
    smooth = cv2.GaussianBlur(resized, (0, 0), SMOOTH)
    even = cv2.createCLAHE(3.0, (8, 8)).apply(np.rint(smooth * 255).astype(np.uint8))
    where = None
    if hand.any():
        size = even.shape[::-1]
        where = cv2.resize(hand.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST)
    sift = cv2.SIFT.create(nfeatures=DETAILS, contrastThreshold=WEAKEST)
    found, details = sift.detectAndCompute(even, where)
    if details is None:
        return np.zeros((0, 2)), np.zeros((0, 128), np.uint8)
    return np.array([point.pt for point in found]), details.astype(np.uint8)


def _mirror(points: np.ndarray, details: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Points and descriptors of the mirror image.

    A SIFT descriptor is 4 x 4 cells of 8 directions each, relative to the direction of the detail
    itself: in the mirror image, its rows and directions are in reverse order.
    """
    turned = details.reshape(-1, 4, 4, 8)[:, ::-1][..., -np.arange(8) % 8]
    return points * [-1, 1], turned.reshape(-1, 128)


def count_shared_details(one: Fingerprint, other: Fingerprint, mirrored: bool = False) -> int:
    """Count the details that two films share in the same arrangement.

    The details of `one` are moved onto `other` by one common shift, rotation and scaling; those
    that come within TOLERANCE pixels of their match are counted.

    Parameters
    ----------
    one, other : Fingerprint
    mirrored : bool
        Compare the mirror image of `one`.
    """
    points, details = one.points.astype(np.float64), one.details
    if mirrored:
        points, details = _mirror(points, details)
    if min(len(points), len(other.points)) < 8:
        return 0

    # match each detail to its nearest one by the squared distance of the descriptors, if it is
    # clearly nearer than the second nearest
    a, b = details.astype(np.float32), other.details.astype(np.float32)
    distance = np.maximum((a * a).sum(1)[:, None] + (b * b).sum(1)[None] - 2 * a @ b.T, 0)
    near = np.argpartition(distance, 1, axis=1)[:, :2]
    near = np.take_along_axis(near, np.argsort(np.take_along_axis(distance, near, 1), axis=1), 1)
    first, second = np.take_along_axis(distance, near, 1).T
    good = first < RATIO**2 * second
    if good.sum() < 4:
        return 0

    # keep the matches that agree on one arrangement
    cv2.setRNGSeed(0)
    _, agree = cv2.estimateAffinePartial2D(
        points[good],
        other.points[near[good, 0]].astype(np.float64),
        method=cv2.RANSAC,
        ransacReprojThreshold=TOLERANCE,
        maxIters=500,
    )
    return 0 if agree is None else int(agree.sum())


@dataclass
class FingerprintIndex:
    """The small parts of the fingerprints of a cohort's films, in order.

    They fit into memory, while the details stay on disk.
    """

    palms: list[np.ndarray] = field(default_factory=list)
    palms_mirrored: list[np.ndarray] = field(default_factory=list)
    wholes: list[np.ndarray] = field(default_factory=list)
    wholes_mirrored: list[np.ndarray] = field(default_factory=list)

    def add(self, film: Fingerprint) -> None:
        """Add the next film."""
        self.palms.append(film.palm)
        self.palms_mirrored.append(film.palm_mirrored)
        self.wholes.append(film.whole)
        self.wholes_mirrored.append(film.whole_mirrored)


def propose_pairs(index: FingerprintIndex, patients: np.ndarray) -> dict[Pair, Likeness]:
    """Propose pairs of films of different patients that may show one hand, as it is or mirrored.

    Each film proposes the NEIGHBOURS films whose palms are most similar, and the film that is most
    similar as a whole if no more than SIMILAR_BITS differ. The number of pairs thus grows with the
    number of films, not with its square.

    Parameters
    ----------
    index : FingerprintIndex, n films
    patients : array of str (n,)

    Returns
    -------
    dict
        Pair -> how alike its films are.
    """
    palms = np.stack(index.palms).astype(np.float32)
    mirrored = np.stack(index.palms_mirrored).astype(np.float32)
    wholes, wholes_mirrored = (
        np.stack(part).astype(np.float32) * 2 - 1 for part in (index.wholes, index.wholes_mirrored)
    )
    bits = wholes.shape[1]
    found: dict[Pair, tuple[int, float]] = {}
    usual: list[
        np.ndarray
    ] = []  # how far each film's nearest palm that it does not propose is apart
    who = pd.factorize(patients)[0]
    chunk = max(1, COMPARED // len(palms))
    for start in range(0, len(palms), chunk):  # a chunk of the films against all
        rows = np.s_[start : start + chunk]
        own = who[rows, None] == who[None]

        # most similar by palm
        as_is, as_mirrored = palms[rows] @ palms.T, mirrored[rows] @ palms.T
        similarity = np.where(own, -np.inf, np.maximum(as_is, as_mirrored))
        n_nearest = min(NEIGHBOURS, len(palms) - 1)
        nearest = np.argpartition(-similarity, n_nearest, axis=1)[:, :NEIGHBOURS]
        chosen = np.zeros(own.shape, bool)
        np.put_along_axis(chosen, nearest, True, axis=1)

        usual.append(1 - np.where(chosen, -np.inf, similarity).max(axis=1))

        # most similar as a whole
        agreement = np.maximum(wholes[rows] @ wholes.T, wholes_mirrored[rows] @ wholes.T)
        apart = np.rint((bits - agreement) / 2).astype(int)
        twin = np.where(own, bits, apart).argmin(axis=1)
        chosen[np.arange(len(twin)), twin] |= apart[np.arange(len(twin)), twin] <= SIMILAR_BITS

        for i, j in np.argwhere(chosen & ~own):
            a, b = sorted((start + int(i), int(j)))
            mirror = bool(as_mirrored[i, j] > as_is[i, j])
            found[a, b, mirror] = int(apart[i, j]), float(similarity[i, j])

    known = np.concatenate(usual)
    known = known[np.isfinite(known)]
    scale = float(np.median(known)) if len(known) else 0.0

    def share(palm: float) -> float:
        return (1 - palm) / scale if scale > 0 and palm >= LEAST_PALM else np.inf

    return {pair: Likeness(bits, share(palm)) for pair, (bits, palm) in sorted(found.items())}


def find_same_hands(films: pd.DataFrame, prints: Sequence[Fingerprint]) -> pd.DataFrame:
    """Find pairs of films that show, or may show, one hand under two patients' names.

    Parameters
    ----------
    films : DataFrame, n rows
        With columns image_id and patient_id.
    prints : sequence of Fingerprint, n
        Of the same films, in the same order.

    Returns
    -------
    DataFrame
        One row per pair, the surest first, with columns PAIR_COLUMNS. The verdict is 'same hand'
        from SAME_HAND shared details or up to the share SAME_PALM of palms, and 'look' from LOOK_AT
        shared details, up to LOOK_AT_PALM, or where at most SIMILAR_BITS bits of the whole films
        differ.

    Examples
    --------
    A film, a copy of it under another patient's name, and a film of a third patient:

    >>> import pandas as pd
    >>> from rahelpers.curation import find_same_hands
    >>> from rahelpers.curation.duplicates import fingerprint_of
    >>> from rahelpers.films import Radiograph, to_network_input
    >>> from rahelpers.phantom import make_patient, render
    >>> images = [render(make_patient(7, number), "L", 256).image for number in (0, 0, 1)]
    >>> films = [Radiograph(image) for image in images]
    >>> prints = [fingerprint_of(film, to_network_input(film, 64)) for film in films]
    >>> names = pd.DataFrame({"image_id": ["a", "b", "c"], "patient_id": ["p1", "p2", "p3"]})
    >>> find_same_hands(names, prints)[["image_a", "image_b", "verdict"]]
      image_a image_b    verdict
    0       a       b  same hand
    """
    index = FingerprintIndex()
    for one in prints:
        index.add(one)
    return judge_pairs(
        films,
        index,
        lambda pairs: [count_shared_details(prints[a], prints[b], m) for a, b, m in pairs],
    )


def judge_pairs(
    films: pd.DataFrame, index: FingerprintIndex, count: Callable[[list[Pair]], Iterable[int]]
) -> pd.DataFrame:
    """Do what `find_same_hands` does for films whose details are not held in memory.

    Parameters
    ----------
    films : DataFrame, n rows
        With columns image_id and patient_id.
    index : FingerprintIndex
        Of the same films, in the same order.
    count : callable
        Takes a list of pairs and returns the number of shared details of each, in the same order,
        as `count_shared_details` counts them.

    Returns
    -------
    DataFrame
        As of `find_same_hands`.
    """
    ids, patients = films["image_id"].to_numpy(), films["patient_id"].to_numpy()
    proposed = propose_pairs(index, patients) if len(films) > 1 else {}
    found = []
    for ((a, b, _), like), details in zip(proposed.items(), count(list(proposed)), strict=True):
        is_same = details >= SAME_HAND or like.palm <= SAME_PALM
        is_near = details >= LOOK_AT or like.palm <= LOOK_AT_PALM or like.bits <= SIMILAR_BITS
        if is_same or is_near:
            verdict = "same hand" if is_same else "look"
            found.append((ids[a], patients[a], ids[b], patients[b], details, like.bits, verdict))
    return pd.DataFrame(found, columns=PAIR_COLUMNS).sort_values(
        ["details", "bits_apart"], ascending=[False, True], kind="stable", ignore_index=True
    )


def read_pairs(file: Path | BinaryIO) -> pd.DataFrame:
    """Read pairs from a CSV file. Names stay text, whatever they look like."""
    text = ("image_a", "patient_a", "image_b", "patient_b", "verdict")
    return read_table(file, text)


def join_patients(patients: pd.Series, pairs: pd.DataFrame) -> pd.Series:
    """Make patients whose films show one hand into one patient, under the first of their names.

    Parameters
    ----------
    patients : Series, n rows
    pairs : DataFrame
        As `find_same_hands` returns it; only pairs with a verdict in SAME count.

    Returns
    -------
    Series, n rows
    """
    one = {patient: patient for patient in [*patients, *pairs["patient_a"], *pairs["patient_b"]]}

    def name(patient: str) -> str:
        while one[patient] != patient:
            patient = one[patient]
        return patient

    for pair in pairs[pairs["verdict"].isin(SAME)].itertuples():
        first, second = sorted((name(pair.patient_a), name(pair.patient_b)))
        one[second] = first
    return patients.map(name)
