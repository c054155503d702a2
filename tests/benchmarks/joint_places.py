"""Where joints are in a hand: writes rahelpers/films/places.toml, and prints the hit rate.

    .venv/bin/python -m tests.benchmarks.joint_places [FOLDER_OF_RSNA_HANDS]

The places are medians over phantom hands without RA, so that no joint is displaced. The hit rate is
of real films whose joints experts have marked. It takes about a minute. The figures are in
docs/explanations.md.
"""

from collections import Counter
from pathlib import Path

import click
import numpy as np
import pandas as pd

from rahelpers.core.config import project_root
from rahelpers.films.joints import (
    FINGERS,
    SIDE,
    Fingers,
    find_fingers,
    finger_frame,
    hand_frame,
    locate_joints,
)
from rahelpers.films.normalisation import to_network_input
from rahelpers.films.radiograph import Radiograph
from rahelpers.films.reading import read_radiograph
from rahelpers.phantom import make_patient, render
from rahelpers.scores.intervals import wilson_interval

HANDS, SEED = 600, 1234
# of the way from proximal joint to knuckle. A web that ends earlier is not skin: the outline has
# closed the gap between two fingers.
DEEP = 0.4
KINDS = {
    "MCP": [f"MCP{k}" for k in range(1, 6)],
    "PIP": ["IP1", *(f"PIP{k}" for k in range(2, 6))],
    "Wrist": ["Lunate", "Scaphoid", "CMC3"],
    "Radius": ["Radius"],
    "Ulna": ["Ulna"],
}


def measure_places(image: np.ndarray, joints: pd.DataFrame) -> pd.DataFrame:
    """Measure the joints of a marked film in the frames that `locate_joints` uses.

    Parameters
    ----------
    image : uint8 array (S, S)
    joints : DataFrame
        Joint table of this film.

    Returns
    -------
    DataFrame
        One row per joint: site, frame, u, v, half. Fingers whose webs the outline does not show are
        left out. Empty if no fingers are found.
    """
    fingers, columns = find_fingers(image), ["site", "frame", "u", "v", "half"]
    if isinstance(fingers, str):
        return pd.DataFrame(columns=columns)
    middles = {
        row.site: SIDE * np.array([(row.x0 + row.x1) / 2, (row.y0 + row.y1) / 2])
        for row in joints.itertuples()
    }
    if fingers.mirrored:
        middles = {site: np.array([SIDE - x, y]) for site, (x, y) in middles.items()}
    (to_hand, _, length), rows = hand_frame(middles), []
    for row in joints.itertuples():
        finger = row.site[-1] if row.site.startswith(("MCP", "PIP", "IP")) else "hand"
        if finger == "hand" or _webs_are_deep(fingers, middles, finger):
            to_frame = to_hand if finger == "hand" else finger_frame(fingers, finger)[0]
            u, v = to_frame(middles[row.site])
            rows.append((row.site, finger, u, v, SIDE * (row.x1 - row.x0) / 2 / length))
    return pd.DataFrame(rows, columns=columns)


def _webs_are_deep(fingers: Fingers, middles: dict[str, np.ndarray], finger: str) -> bool:
    """Whether the outline runs down on both sides of a finger, well past the proximal joint.

    So does the skin if fingers are spread.
    """
    i = FINGERS.index(finger)
    for web in (w for w in (i - 1, i) if 0 <= w < 3):
        tops, ends = (
            np.mean([middles[f"{joint}{FINGERS[k]}"] for k in (web, web + 1)], axis=0)
            for joint in ("PIP", "MCP")
        )
        if (fingers.webs[web] - tops) @ (ends - tops) < DEEP * (ends - tops) @ (ends - tops):
            return False
    return True


def learn() -> pd.DataFrame:
    """Measure the proportions, as medians over phantom hands."""
    tables = []
    for k in range(HANDS):
        patient = make_patient(SEED, k)
        if patient.condition == "RA":
            continue
        film = render(patient, "L" if k % 2 else "R", SIDE)
        seen = to_network_input(
            Radiograph(film.image, film.spacing_mm, film.laterality), SIDE, True
        )
        joints = film.joints.copy()
        joints[["x0", "y0", "x1", "y1"]] = seen.geometry.boxes_to_square(
            joints[["x0", "y0", "x1", "y1"]].to_numpy()
        )
        tables.append(measure_places(seen.image, joints))
    every = pd.concat(tables)
    found = every.groupby(["site", "frame"], sort=False)[["u", "v", "half"]].median().reset_index()
    hands = every.groupby(["site", "frame"], sort=False).size().to_numpy()
    print(found.assign(hands=hands).to_string(index=False))
    return found


def check(folder: Path) -> None:
    """Print how many predicted middles are inside the boxes of experts, and the other way round.

    A box of a kind counts as hit if any site of that kind is in it. Then the reasons why films get
    no answer.
    """
    films, boxes = pd.read_csv(folder / "manifest.csv"), pd.read_csv(folder / "joint_boxes.csv")
    corners = ["x0", "y0", "x1", "y1"]
    hits, covered, away = ({kind: [] for kind in KINDS} for _ in range(3))
    for name, marked in boxes.groupby("image_id"):
        file = Path(films.loc[films["image_id"] == name, "file"].iloc[0]).name
        seen = to_network_input(read_radiograph(folder / "images" / file), SIDE, True)
        found = locate_joints(seen.image)
        if found.reason:
            print(name, found.reason)
        regions = found.joints.set_index("site")
        middles = {
            row.site: ((row.x0 + row.x1) / 2, (row.y0 + row.y1) / 2)
            for row in found.joints.itertuples()
        }
        boxes_here = seen.geometry.boxes_to_square(marked[corners].to_numpy())
        for kind, (x0, y0, x1, y1) in zip(marked["joint"], boxes_here, strict=True):
            if kind not in KINDS:
                continue
            # predicted middles in the expert's box; of the wrist's sites, their mean
            points = [middles[site] for site in KINDS[kind] if site in middles] or [(9.0, 9.0)]
            points = np.array(points)
            points = points.mean(axis=0, keepdims=True) if kind == "Wrist" else points
            inside = (points >= [x0, y0]) & (points <= [x1, y1])
            hits[kind].append(bool(inside.all(axis=1).any()))

            # the expert's middle in a predicted region, and its distance in widths of the box
            x, y, own = (x0 + x1) / 2, (y0 + y1) / 2, regions.reindex(KINDS[kind])
            covers = (own["x0"] <= x) & (x <= own["x1"]) & (own["y0"] <= y) & (y <= own["y1"])
            covered[kind].append(bool(covers.any()))
            away[kind].append(np.hypot(*((points - [x, y]).T / (x1 - x0))).min())
    for kind, found in hits.items():
        low, high = wilson_interval(np.mean(found), len(found))
        print(
            f"{kind}: middle in the expert's box {sum(found)} of {len(found)}"
            f" ({low:.2f} to {high:.2f}), median distance {np.median(away[kind]):.2f} box widths;"
            f" expert's middle in the region {sum(covered[kind])}"
        )
    reasons = Counter()
    for file in films["file"]:
        seen = to_network_input(read_radiograph(folder / "images" / Path(file).name), SIDE, True)
        reasons[locate_joints(seen.image).reason or "found"] += 1
    print(f"{len(films)} films:", dict(reasons))


@click.command(help=__doc__)
@click.argument("films", required=False, type=click.Path(path_type=Path, exists=True))
def main(films: Path | None) -> None:
    text = (
        "# Medians over phantom hands; tests/benchmarks/joint_places.py writes this file. What the"
        " words mean: load_places in joints.py\n"
    )
    for row in learn().itertuples():
        text += (
            f'\n[{row.site}]\nframe = "{row.frame}"\nu = {row.u:.4f}\nv = {row.v:.4f}\nhalf ='
            f" {row.half:.4f}\n"
        )
    (project_root() / "rahelpers" / "films" / "places.toml").write_text(text)
    if films:
        check(films)


if __name__ == "__main__":
    main()
