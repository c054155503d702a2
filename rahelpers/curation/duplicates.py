"""Films that show the same hand: found by what they look like, whatever they are called.

Two stages. A descriptor of the palm proposes pairs: it survives another size, crop, exposure, or a
mirrored copy. Local features (SIFT) then decide: the same hand gives dozens of details that lie
alike on both films, two hands that merely resemble each other give a few.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from scipy.fft import dctn

from rahelpers.films.normalisation import NetworkInput, normalise_intensity
from rahelpers.films.radiograph import Radiograph

PALM_RADII = 2.2  # half the window around the palm, in radii of the largest circle inside the hand
WINDOW = 96  # pixels
FREQUENCIES = 20  # of the window's cosine transform, in each direction
WHOLE_FREQUENCIES = 12  # of the whole film's
DETAIL_SIDE = 448  # pixels of the film's long side, where details are looked for
DETAILS = 300  # per film, the strongest
# a detail matches where the nearest is so much nearer than the second nearest (Lowe, IJCV
# 2004;60:91, section 7.1)
RATIO = 0.8
TOLERANCE = 4.0  # pixels, how alike the matched details must lie
NEIGHBOURS = 3  # pairs that each film proposes by its palm
# Measured on real films. Of the pairs that 900 films proposed, those of different children share at
# most 33 details; two children who stand there under two numbers share 62 and 78. Of 90 films,
# copies that were resized, cropped, exposed anew or mirrored keep 80 and more, all of these at once
# 89 of 90 keep 80 and more; of copies saved as JPEG of quality 60, 80 keep 55 and more, of quality
# 35, 74.
SAME_HAND = 55
LOOK_AT = 40
ALIKE_AS_A_WHOLE = 12  # of 143 bits that differ; of 404,550 pairs of real films, three are nearer
COMPARED = 4_000_000  # similarities held at once: 32 MB a table
SAME = ("same file", "same hand")  # verdicts that make two patients one
PAIR_COLUMNS = ["image_a", "patient_a", "image_b", "patient_b", "details", "bits_apart", "verdict"]


Pair = tuple[int, int, bool]  # rows of two films, and whether the first is to be mirrored


@dataclass(frozen=True)
class Fingerprint:
    """What a film is recognised by.

    Attributes
    ----------
    palm, palm_mirrored : float16 array (400,)
        Unit vectors; cosine transform of the palm, local contrast made even, and of its mirror
        image.
    whole, whole_mirrored : bool array (143,)
        Perceptual hash of the whole film: which low frequencies are above their median; and of its
        mirror image.
    points : float16 array (k, 2)
        Where the details are, x and y.
    details : uint8 array (k, 128)
        SIFT descriptors.
    """

    palm: np.ndarray
    palm_mirrored: np.ndarray
    whole: np.ndarray
    whole_mirrored: np.ndarray
    points: np.ndarray
    details: np.ndarray


def compute_fingerprint(image: np.ndarray, hand: np.ndarray) -> Fingerprint:
    """The fingerprint of a film.

    Parameters
    ----------
    image : float32 array (H, W)
        Upright, bone bright, grey values in [0, 1].
    hand : bool array (h, w)
        Where the hand is, at any size; all False where none was found: then the whole film counts.
    """
    image = normalise_intensity(image)
    palm = _palm_window(image, hand)
    whole = cv2.resize(image, (WINDOW, WINDOW), interpolation=cv2.INTER_AREA)
    points, details = _find_details(image, hand)
    return Fingerprint(
        _describe(palm),
        _describe(palm[:, ::-1]),
        _hash(whole),
        _hash(whole[:, ::-1]),
        points.astype(np.float16),
        details,
    )


def fingerprint_of(film: Radiograph, seen: NetworkInput) -> Fingerprint:
    """The fingerprint of the part of a film where its hand was looked for, upright and bone bright."""
    top, bottom, left, right = seen.window
    image = normalise_intensity(film.image[top:bottom, left:right])
    turns = seen.placement.quarter_turns
    return compute_fingerprint(
        np.ascontiguousarray(np.rot90(1 - image if seen.inverted else image, turns)),
        np.rot90(seen.hand.mask, turns),
    )


def _palm_window(image: np.ndarray, hand: np.ndarray) -> np.ndarray:
    """The palm, float32 (WINDOW, WINDOW). The largest circle inside the hand does not move when
    fingertips or forearm are cropped.
    """
    height, width = image.shape
    x, y, radius = width / 2, height / 2, max(height, width) / (2 * PALM_RADII)
    if hand.any():
        depth = cv2.distanceTransform(np.pad(hand, 1).astype(np.uint8), cv2.DIST_L2, 5)[1:-1, 1:-1]
        rows, columns = np.nonzero(depth > 0.93 * depth.max())
        scale = height / hand.shape[0]
        x, y, radius = (
            (columns.mean() + 0.5) * scale,
            (rows.mean() + 0.5) * scale,
            float(depth.max()) * scale,
        )
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
    detail = window - cv2.GaussianBlur(window, (0, 0), 8)
    even = detail / np.sqrt(
        cv2.GaussianBlur(detail * detail, (0, 0), 8) + 1e-4
    )  # exposure is not anatomy
    half = cv2.resize(even, (WINDOW // 2, WINDOW // 2), interpolation=cv2.INTER_AREA)
    found = dctn(half, norm="ortho")[:FREQUENCIES, :FREQUENCIES].ravel()
    return (found / max(float(np.linalg.norm(found)), 1e-9)).astype(np.float16)


def _hash(window: np.ndarray) -> np.ndarray:
    low = dctn(np.ascontiguousarray(window), norm="ortho")[
        :WHOLE_FREQUENCIES, :WHOLE_FREQUENCIES
    ].ravel()[1:]
    return low > np.median(low)


def _find_details(image: np.ndarray, hand: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Points (k, 2) and descriptors (k, 128) of the hand alone: two films of one room share their
    marker.
    """
    scale = DETAIL_SIDE / max(image.shape)
    smaller = cv2.resize(
        image,
        None,
        fx=scale,
        fy=scale,
        interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR,
    )
    even = cv2.createCLAHE(3.0, (8, 8)).apply(np.rint(smaller * 255).astype(np.uint8))
    where = (
        cv2.resize(hand.astype(np.uint8), even.shape[::-1], interpolation=cv2.INTER_NEAREST)
        if hand.any()
        else None
    )
    found, details = cv2.SIFT_create(nfeatures=DETAILS, contrastThreshold=0.01).detectAndCompute(
        even, where
    )
    if details is None:
        return np.zeros((0, 2)), np.zeros((0, 128), np.uint8)
    return np.array([point.pt for point in found]), details.astype(np.uint8)


def _mirror(points: np.ndarray, details: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The details of the mirror image.

    A SIFT descriptor is 4 x 4 cells of 8 directions, turned to the detail's own: mirrored, its rows
    and directions run backwards.
    """
    turned = details.reshape(-1, 4, 4, 8)[:, ::-1][..., -np.arange(8) % 8]
    return points * [-1, 1], turned.reshape(-1, 128)


def count_shared_details(one: Fingerprint, other: Fingerprint, mirrored: bool = False) -> int:
    """Details of `one`, or of its mirror image, that lie alike on `other`: after one shift, turn
    and scaling, within TOLERANCE pixels.
    """
    points, details = one.points.astype(np.float64), one.details
    if mirrored:
        points, details = _mirror(points, details)
    if min(len(points), len(other.points)) < 8:
        return 0
    a, b = details.astype(np.float32), other.details.astype(np.float32)
    distance = np.maximum((a * a).sum(1)[:, None] + (b * b).sum(1)[None] - 2 * a @ b.T, 0)
    near = np.argpartition(distance, 1, axis=1)[:, :2]
    near = np.take_along_axis(near, np.argsort(np.take_along_axis(distance, near, 1), axis=1), 1)
    first, second = np.take_along_axis(distance, near, 1).T
    good = first < RATIO**2 * second
    if good.sum() < 4:
        return 0
    cv2.setRNGSeed(0)
    _, alike = cv2.estimateAffinePartial2D(
        points[good],
        other.points[near[good, 0]].astype(np.float64),
        method=cv2.RANSAC,
        ransacReprojThreshold=TOLERANCE,
        maxIters=500,
    )
    return 0 if alike is None else int(alike.sum())


@dataclass
class Index:
    """The descriptors of a cohort's films, in order: small enough to hold, while details stay on
    disk.
    """

    palms: list[np.ndarray]
    palms_mirrored: list[np.ndarray]
    wholes: list[np.ndarray]
    wholes_mirrored: list[np.ndarray]

    def add(self, film: Fingerprint) -> None:
        """Take in the next film."""
        self.palms.append(film.palm)
        self.palms_mirrored.append(film.palm_mirrored)
        self.wholes.append(film.whole)
        self.wholes_mirrored.append(film.whole_mirrored)


def propose_pairs(index: Index, patients: np.ndarray) -> dict[Pair, int]:
    """Pairs of films of different patients that may show one hand, as it is or mirrored, and how
    many of the 143 bits of the whole film differ.

    Each film proposes its NEIGHBOURS nearest by palm, and its nearest as a whole where that is
    unusually alike: pairs grow with films, not with their square.
    """
    palms = np.stack(index.palms).astype(np.float32)
    mirrored = np.stack(index.palms_mirrored).astype(np.float32)
    wholes, wholes_mirrored = (
        np.stack(part).astype(np.float32) * 2 - 1 for part in (index.wholes, index.wholes_mirrored)
    )
    bits = wholes.shape[1]
    pairs: dict[Pair, int] = {}
    who = pd.factorize(patients)[0]
    chunk = max(1, COMPARED // len(palms))
    for start in range(0, len(palms), chunk):
        rows = np.s_[start : start + chunk]
        own = who[rows, None] == who[None]
        as_is, as_mirrored = palms[rows] @ palms.T, mirrored[rows] @ palms.T
        alike = np.where(own, -np.inf, np.maximum(as_is, as_mirrored))
        apart = np.rint(
            (bits - np.maximum(wholes[rows] @ wholes.T, wholes_mirrored[rows] @ wholes.T)) / 2
        ).astype(int)
        nearest = np.argpartition(-alike, min(NEIGHBOURS, len(palms) - 1), axis=1)[:, :NEIGHBOURS]
        chosen = np.zeros(own.shape, bool)
        np.put_along_axis(chosen, nearest, True, axis=1)
        twin = np.where(own, bits, apart).argmin(axis=1)
        chosen[np.arange(len(twin)), twin] |= apart[np.arange(len(twin)), twin] <= ALIKE_AS_A_WHOLE
        for i, j in np.argwhere(chosen & ~own):
            a, b = sorted((start + int(i), int(j)))
            pairs[a, b, bool(as_mirrored[i, j] > as_is[i, j])] = int(apart[i, j])
    return dict(sorted(pairs.items()))


def find_same_hands(
    films: pd.DataFrame, index: Index, count: Callable[[list[Pair]], Iterable[int]]
) -> pd.DataFrame:
    """Pairs of films that show, or may show, one hand under two patients' names.

    Parameters
    ----------
    films : DataFrame, n rows
        With columns image_id and patient_id.
    index : Index
        Of the same films, in the same order.
    count : callable
        The shared details of each of the pairs that it is given, in their order
        (`count_shared_details`).

    Returns
    -------
    DataFrame
        One pair a row, the surest first: PAIR_COLUMNS. verdict: 'same hand' from SAME_HAND shared
        details on; 'look' where they are fewer but unusual, or where the films as a whole are
        unusually alike.
    """
    ids, patients = films["image_id"].to_numpy(), films["patient_id"].to_numpy()
    proposed = propose_pairs(index, patients) if len(films) > 1 else {}
    found = []
    for ((a, b, _), apart), details in zip(proposed.items(), count(list(proposed)), strict=True):
        if details >= LOOK_AT or apart <= ALIKE_AS_A_WHOLE:
            found.append(
                (
                    ids[a],
                    patients[a],
                    ids[b],
                    patients[b],
                    details,
                    apart,
                    "same hand" if details >= SAME_HAND else "look",
                )
            )
    return pd.DataFrame(found, columns=PAIR_COLUMNS).sort_values(
        ["details", "bits_apart"], ascending=[False, True], kind="stable", ignore_index=True
    )


def read_pairs(file: Path) -> pd.DataFrame:
    """Pairs from a CSV file."""
    return pd.read_csv(
        file, dtype=dict.fromkeys(("image_a", "patient_a", "image_b", "patient_b", "verdict"), str)
    )


def join_patients(patients: pd.Series, pairs: pd.DataFrame) -> pd.Series:
    """Patients whose films show one hand become one patient, under the first of their names.

    Parameters
    ----------
    patients : Series, n rows
    pairs : DataFrame
        As `find_same_hands` returns it; only its pairs of a verdict in SAME count.
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
