"""The game that region SHAP explains: who the players are, what a hidden one shows, and what the
network says of a coalition.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import pandas as pd
from scipy.cluster.hierarchy import fcluster, leaves_list, linkage
from scipy.spatial.distance import pdist
from skimage.filters import threshold_otsu
from skimage.segmentation import slic

from rahelpers.films.joints import locate_joints
from rahelpers.films.marks import find_marks
from rahelpers.films.normalisation import foreground
from rahelpers.films.sites import RAYS, WRIST

LEAST_MARK = 0.0008  # share of the film: below, a bright spot beside the hand is noise or JPEG's
# share of the grey values' variance that two classes explain (Otsu); below, flesh and bone are not
# told apart
SOFT_CONTRAST = 0.6
BONE, SOFT, BACKGROUND, MARKER = "rest of hand", "soft tissue", "background", "marker"
MARKED = "joints as marked"
LOCATED = "joints located by a program from the outline of the fingers; nobody has marked them"
PIECES = "pieces of the hand: its joints are not marked, and a program did not find them ({})"


@dataclass(frozen=True)
class Regions:
    """A partition of a film.

    Attributes
    ----------
    names : list of str
    labels : int array (S, S)
        For each pixel the index of its region in `names`.
    origin : str
        Where the joints come from, in words.
    """

    names: list[str]
    labels: np.ndarray
    origin: str = MARKED

    @property
    def tree(self) -> np.ndarray:
        """The hierarchy of the players as a linkage matrix (p - 1, 4), as scipy and shap have it:
        film, hand, ray, joint.

        Players whose names say nothing of anatomy, such as superpixels, are joined by how near
        their middles lie.
        """
        places = np.array(
            [
                [np.mean(axis) for axis in np.nonzero(self.labels == k)]
                for k in range(len(self.names))
            ]
        )
        return make_tree(self.names, places)


def merge_regions(regions: Regions, players: int = 9) -> Regions:
    """The same film in fewer, larger regions: the hierarchy is cut where so many groups are left.

    With nine players these are the five rays, the wrist, the rest of the hand, the background and
    the marker, where the film has all of them. Games of so few can be tried out to the last
    coalition.

    Parameters
    ----------
    regions : Regions
    players : int
        At least 1. A film with no more regions than this stays as it is.

    Returns
    -------
    Regions
        Named after the ray where a group is one, else after its members, or the first of many.
    """
    if players >= len(regions.names):
        return regions
    groups = fcluster(regions.tree, players, "maxclust") - 1
    members = [
        [name for name, own in zip(regions.names, groups, strict=True) if own == group]
        for group in range(groups.max() + 1)
    ]
    return Regions(
        [_name_group(names) for names in members], groups[regions.labels], regions.origin
    )


def _name_group(names: list[str]) -> str:
    known = {**RAYS, "wrist": WRIST, BONE: (BONE, SOFT)}
    whole = [group for group, sites in known.items() if set(names) <= set(sites)]
    if whole and len(names) > 1:
        return whole[0]
    return " + ".join(names) if len(names) <= 3 else f"{names[0]} and {len(names) - 1} more"


def make_regions(image: np.ndarray, joints: pd.DataFrame, n_superpixels: int = 20) -> Regions:
    """Joint boxes, the rest of the hand, its soft tissue, the background, and a marker.

    Where nobody has marked the joints they are located from the outline of the fingers
    (`rahelpers.films.joints`); where the fingers are not found either, superpixels of the hand
    take their place. A pixel in two boxes goes to the nearer centre. Soft tissue is a player where
    grey values tell it from bone, a marker where something bright lies beside the hand.

    Parameters
    ----------
    image : uint8 array (S, S)
    joints : DataFrame
        Joint table of this film: site, x0, y0, x1, y1 as fractions. May be empty.
    n_superpixels : int

    Returns
    -------
    Regions
    """
    hand, side, origin = foreground(image), image.shape[0], MARKED
    if not len(joints):
        located = locate_joints(image)
        joints = located.joints
        origin = PIECES.format(located.reason) if located.reason else LOCATED
    names = [*joints["site"], BONE, SOFT, BACKGROUND, MARKER]
    bone, soft, background, marker = range(len(joints), len(names))
    owner = np.where(hand, np.where(_soft_tissue(image, hand), soft, bone), background)
    if not len(joints):
        pieces = slic(
            image.astype(float) / 255,
            n_segments=n_superpixels,
            compactness=0.2,
            mask=hand,
            channel_axis=None,
            start_label=1,
        )
        names += [f"region {k}" for k in range(1, pieces.max() + 1)]
        owner = np.where(pieces > 0, marker + pieces, background)
    y, x = (np.mgrid[:side, :side] + 0.5) / side
    nearest = np.full(image.shape, np.inf)
    for k, joint in enumerate(joints.itertuples()):
        inside = (x >= joint.x0) & (x <= joint.x1) & (y >= joint.y0) & (y <= joint.y1)
        distance = (x - (joint.x0 + joint.x1) / 2) ** 2 + (y - (joint.y0 + joint.y1) / 2) ** 2
        closer = inside & (distance < nearest)
        nearest[closer], owner[closer] = distance[closer], k
    owner[find_marker(image, hand) & (owner == background)] = marker
    found, labels = np.unique(owner, return_inverse=True)
    return Regions([names[i] for i in found], labels.reshape(image.shape), origin)


def _soft_tissue(image: np.ndarray, hand: np.ndarray) -> np.ndarray:
    """The darker of two classes of the hand's pixels, bool (S, S); none where two classes do not
    describe the hand.
    """
    grey = image[hand].astype(float)
    if np.ptp(grey) == 0:
        return np.zeros_like(hand)
    dark = grey <= threshold_otsu(grey)
    between = dark.mean() * (1 - dark.mean()) * (grey[dark].mean() - grey[~dark].mean()) ** 2
    return (
        hand & (image <= threshold_otsu(grey))
        if between >= SOFT_CONTRAST * grey.var()
        else np.zeros_like(hand)
    )


def find_marker(image: np.ndarray, hand: np.ndarray) -> np.ndarray:
    """Bright things beside the hand with a margin around them, bool (S, S): a lead letter, a plate,
    a bright edge of the field.

    Parameters
    ----------
    image : uint8 array (S, S)
    hand : bool array (S, S)
    """
    margin = max(3, round(0.04 * image.shape[0]))
    beside = cv2.dilate(hand.astype(np.uint8), np.ones((margin, margin), np.uint8)) == 0
    marks = find_marks(image.astype(np.float32) / 255, beside)
    if marks.mean() < LEAST_MARK:
        return np.zeros_like(hand)
    return (
        cv2.dilate(marks.astype(np.uint8), np.ones((margin, margin), np.uint8)).astype(bool) & ~hand
    )


def make_tree(names: Sequence[str], places: np.ndarray) -> np.ndarray:
    """Linkage matrix (p - 1, 4) of players: rays and wrist join to the hand, hand and surroundings
    to the film.

    Parameters
    ----------
    names : sequence of str
    places : float array (p, 2)
        Middle of each region; decides where names do not.
    """
    surroundings = [k for k, name in enumerate(names) if name in (BACKGROUND, MARKER)]
    rest = [k for k, name in enumerate(names) if name in (BONE, SOFT)]
    rays = [[names.index(site) for site in sites if site in names] for sites in RAYS.values()]
    others = [
        k
        for k in range(len(names))
        if k not in {*surroundings, *rest, *(k for ray in rays for k in ray)}
    ]
    groups = [members for members in (*rays, others) if members]
    steps: list[list[float]] = []
    size = {k: 1 for k in range(len(names))}

    def join(a: int, b: int) -> int:
        steps.append([a, b, 0.0, size[a] + size[b]])
        size[len(names) + len(steps) - 1] = size[a] + size[b]
        return len(names) + len(steps) - 1

    def near(members: list[int]) -> list[int]:
        """Players in an order in which neighbours stand side by side."""
        return (
            [members[k] for k in leaves_list(linkage(pdist(places[members]), "average"))]
            if len(members) > 1
            else members
        )

    def join_halves(nodes: list[int]) -> int:
        """A flat tree keeps the number of coalitions small."""
        return (
            nodes[0]
            if len(nodes) == 1
            else join(join_halves(nodes[: len(nodes) // 2]), join_halves(nodes[len(nodes) // 2 :]))
        )

    hand = [join_halves(near(members)) for members in groups] + (
        [join_halves(rest)] if rest else []
    )
    join_halves([join_halves(nodes) for nodes in (hand, surroundings) if nodes])
    tree = np.array(steps).reshape(-1, 4)
    tree[:, 2] = np.arange(
        1, len(tree) + 1
    )  # shap reads a height; only that it is not negative matters
    return tree
