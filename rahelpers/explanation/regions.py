"""The regions of a film: joints, rest of the hand, background and marker, and their hierarchy.

They are the players of the game in `rahelpers.explanation.region_game`.
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

# share of the film: a smaller bright spot next to the hand is noise or a JPEG artefact
LEAST_MARK = 0.0008
# share of the variance of the hand's grey values that two classes explain (Otsu); below this, flesh
# and bone cannot be separated
SOFT_CONTRAST = 0.6
BONE, SOFT, BACKGROUND, MARKER = "rest of hand", "soft tissue", "background", "marker"
MARKED = "joints as marked"
LOCATED = "joints located by a program from the outline of the fingers; no person has marked them"
PIECES = "pieces of the hand: no person has marked its joints, and a program did not find them ({})"


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

    Examples
    --------
    >>> from rahelpers.explanation.regions import Regions
    >>> quarters = Regions(["MCP2", "PIP2", "MCP3", "background"], np.array([[0, 1], [2, 3]]))
    >>> quarters.tree[:, [0, 1, 3]].astype(int).tolist()  # the two joints of ray 2 join first
    [[0, 1, 2], [4, 2, 3], [5, 3, 4]]
    """

    names: list[str]
    labels: np.ndarray
    origin: str = MARKED

    @property
    def tree(self) -> np.ndarray:
        """The hierarchy film, hand, ray, joint as a linkage matrix (p - 1, 4).

        The format is that of scipy and shap. Players without an anatomical name, such as
        superpixels, are joined by the distance of their centres.
        """
        masks = (self.labels == k for k in range(len(self.names)))
        return make_tree(self.names, np.array([np.argwhere(mask).mean(axis=0) for mask in masks]))


def merge_regions(regions: Regions, players: int = 9) -> Regions:
    """Merge regions into fewer, larger ones, along the hierarchy.

    With nine players these are the five rays, the wrist, the rest of the hand, the background and
    the marker, where the film has all of them. With so few players every coalition can be tried.

    Parameters
    ----------
    regions : Regions
    players : int
        How many groups are left, at most; at least 1. Regions that are no more than this stay as
        they are.

    Returns
    -------
    Regions
        Named after the ray where a group is one, otherwise after its members, or after the first of
        many.

    Examples
    --------
    >>> from rahelpers.explanation import merge_regions
    >>> from rahelpers.explanation.regions import Regions
    >>> names = ["MCP2", "PIP2", "MCP3", "PIP3", "background"]
    >>> fine = Regions(names, np.arange(5)[:, None].repeat(5, axis=1))
    >>> sorted(merge_regions(fine, players=3).names)
    ['background', 'ray 2', 'ray 3']
    """
    if players >= len(regions.names):
        return regions
    groups = fcluster(regions.tree, players, "maxclust") - 1
    members = [
        [name for name, own in zip(regions.names, groups, strict=True) if own == group]
        for group in range(groups.max() + 1)
    ]
    names = [_name_group(group) for group in members]
    return Regions(names, groups[regions.labels], regions.origin)


def _name_group(names: list[str]) -> str:
    """The anatomical name of a group of regions, or a list of its members."""
    known = {**RAYS, "wrist": WRIST, BONE: (BONE, SOFT)}
    anatomical = [group for group, sites in known.items() if set(names) <= set(sites)]
    if anatomical and len(names) > 1:
        return anatomical[0]
    return " + ".join(names) if len(names) <= 3 else f"{names[0]} and {len(names) - 1} more"


def make_regions(image: np.ndarray, joints: pd.DataFrame, n_superpixels: int = 20) -> Regions:
    """Divide a film into joint boxes, rest of the hand, soft tissue, background and marker.

    Where no joints are marked, they are located from the outline of the fingers
    (`rahelpers.films.joints`); where the fingers are not found either, superpixels of the hand
    take their place. A pixel in two boxes belongs to the nearer centre. Soft tissue is a region
    where its grey values differ from those of bone, a marker where something bright is next to the
    hand.

    Parameters
    ----------
    image : uint8 array (S, S)
    joints : DataFrame
        Joint table of this film: site, x0, y0, x1, y1 as fractions. May be empty.
    n_superpixels : int
        Wanted number of superpixels, where they are needed.

    Returns
    -------
    Regions

    Examples
    --------
    >>> from rahelpers import load_cohort
    >>> from rahelpers.explanation import make_regions
    >>> cohort = load_cohort(run)
    >>> regions = make_regions(cohort.images[0], cohort.joints_of(0))
    >>> regions.labels.shape, "MCP2" in regions.names, "background" in regions.names
    ((48, 48), True, True)
    >>> regions.origin
    'joints as marked'
    """
    hand, side, origin = foreground(image), image.shape[0], MARKED
    if not len(joints):
        located = locate_joints(image)
        joints = located.joints
        origin = PIECES.format(located.reason) if located.reason else LOCATED

    # every pixel first belongs to the rest of the hand, its soft tissue, or the background
    names = [*joints["site"], BONE, SOFT, BACKGROUND, MARKER]
    bone, soft, background, marker = range(len(joints), len(names))
    owner = np.where(hand, np.where(_soft_tissue(image, hand), soft, bone), background)

    # without joints, superpixels of the hand instead
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

    # joint boxes take their pixels; where two overlap, the nearer centre does
    y, x = (np.mgrid[:side, :side] + 0.5) / side
    nearest = np.full(image.shape, np.inf)
    for k, joint in enumerate(joints.itertuples()):
        inside = (x >= joint.x0) & (x <= joint.x1) & (y >= joint.y0) & (y <= joint.y1)
        distance = (x - (joint.x0 + joint.x1) / 2) ** 2 + (y - (joint.y0 + joint.y1) / 2) ** 2
        closer = inside & (distance < nearest)
        nearest[closer], owner[closer] = distance[closer], k

    # the marker takes its pixels from the background only; regions without a pixel are dropped
    owner[find_marker(image, hand) & (owner == background)] = marker
    found, labels = np.unique(owner, return_inverse=True)
    return Regions([names[i] for i in found], labels.reshape(image.shape), origin)


def _soft_tissue(image: np.ndarray, hand: np.ndarray) -> np.ndarray:
    """The darker of two classes of pixels of the hand (Otsu), bool (S, S).

    All False where two classes do not describe the hand.
    """
    grey = image[hand].astype(float)
    if np.ptp(grey) == 0:
        return np.zeros_like(hand)
    threshold = threshold_otsu(grey)
    dark = grey <= threshold
    between = dark.mean() * (1 - dark.mean()) * (grey[dark].mean() - grey[~dark].mean()) ** 2
    separate = between >= SOFT_CONTRAST * grey.var()
    return hand & (image <= threshold) if separate else np.zeros_like(hand)


def find_marker(image: np.ndarray, hand: np.ndarray) -> np.ndarray:
    """Find bright things next to the hand: a lead letter, a plate, a bright edge of the field.

    Parameters
    ----------
    image : uint8 array (S, S)
    hand : bool array (S, S)

    Returns
    -------
    bool array (S, S)
        The marks with a margin around them; all False where they are too small to matter.
    """
    margin = max(3, round(0.04 * image.shape[0]))
    around = np.ones((margin, margin), np.uint8)
    outside = cv2.dilate(hand.astype(np.uint8), around) == 0
    marks = find_marks(image.astype(np.float32) / 255, outside)
    if marks.mean() < LEAST_MARK:
        return np.zeros_like(hand)
    return cv2.dilate(marks.astype(np.uint8), around).astype(bool) & ~hand


def make_tree(names: Sequence[str], places: np.ndarray) -> np.ndarray:
    """Build the hierarchy of players: joints form rays, rays and wrist the hand, all the film.

    Parameters
    ----------
    names : sequence of str
    places : float array (p, 2)
        Centre of each region; decides where names do not.

    Returns
    -------
    float array (p - 1, 4)
        Linkage matrix, as scipy and shap have it.
    """
    # which players belong together, by their names
    surroundings = [k for k, name in enumerate(names) if name in (BACKGROUND, MARKER)]
    rest = [k for k, name in enumerate(names) if name in (BONE, SOFT)]
    rays = [[names.index(site) for site in sites if site in names] for sites in RAYS.values()]
    placed = {*surroundings, *rest, *(k for ray in rays for k in ray)}
    others = [k for k in range(len(names)) if k not in placed]
    groups = [members for members in (*rays, others) if members]

    # a row of the matrix joins two nodes into a new one, whose number follows those in use
    steps: list[list[float]] = []
    size = {k: 1 for k in range(len(names))}

    def join(a: int, b: int) -> int:
        """Join two nodes, and return the number of the new one."""
        steps.append([a, b, 0.0, size[a] + size[b]])
        size[len(names) + len(steps) - 1] = size[a] + size[b]
        return len(names) + len(steps) - 1

    def near(members: list[int]) -> list[int]:
        """Players in an order in which neighbours on the film are next to each other."""
        if len(members) == 1:
            return members
        return [members[k] for k in leaves_list(linkage(pdist(places[members]), "average"))]

    def join_halves(nodes: list[int]) -> int:
        """Join by halving: a shallow tree keeps the number of coalitions small."""
        if len(nodes) == 1:
            return nodes[0]
        half = len(nodes) // 2
        return join(join_halves(nodes[:half]), join_halves(nodes[half:]))

    hand = [join_halves(near(members)) for members in groups]
    hand += [join_halves(rest)] if rest else []
    join_halves([join_halves(nodes) for nodes in (hand, surroundings) if nodes])
    tree = np.array(steps).reshape(-1, 4)
    tree[:, 2] = np.arange(1, len(tree) + 1)  # shap reads a height, and only requires it to be >= 0
    return tree
