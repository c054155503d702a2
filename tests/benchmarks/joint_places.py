"""Writes rahelpers/joint_locator/places.toml: where joints lie in a hand, as medians over phantom hands. Prints the hit rate on marked real films.

    .venv/bin/python tests/benchmarks/joint_places.py [FOLDER_OF_RSNA_HANDS]

Takes about a minute. Hands without RA, so that proportions are of joints in their place.
"""

import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd

from rahelpers.joint_locator import locate_joints, measure_places
from rahelpers.metrics import wilson_interval
from rahelpers.normalisation import to_network_input
from rahelpers.phantom import make_patient, render
from rahelpers.radiograph import Radiograph, read_radiograph

HANDS, SEED, SIDE = 600, 1234, 320
KINDS = {"MCP": [f"MCP{k}" for k in range(1, 6)], "PIP": ["IP1", *(f"PIP{k}" for k in range(2, 6))], "Wrist": ["Lunate", "Scaphoid", "CMC3"],
         "Radius": ["Radius"], "Ulna": ["Ulna"]}  # fmt: skip


def learn() -> pd.DataFrame:
    """The proportions."""
    tables = []
    for k in range(HANDS):
        patient = make_patient(SEED, k)
        if patient.condition == "RA":
            continue
        film = render(patient, "L" if k % 2 else "R", SIDE)
        seen = to_network_input(Radiograph(film.image, film.spacing_mm, film.laterality), SIDE, True)
        joints = film.joints.copy()
        joints[["x0", "y0", "x1", "y1"]] = seen.geometry.boxes_to_square(joints[["x0", "y0", "x1", "y1"]].to_numpy())
        tables.append(measure_places(seen.image, joints))
    every = pd.concat(tables)
    found = every.groupby(["site", "frame"], sort=False)[["u", "v", "half"]].median().reset_index()
    print(found.assign(hands=every.groupby(["site", "frame"], sort=False).size().to_numpy()).to_string(index=False))
    return found


def check(folder: Path) -> None:
    """Predicted middles inside the boxes of experts, and experts' middles inside the predicted regions; then the share of all films with an answer.

    A box of a kind counts as hit where any site of that kind lies in it.
    """
    films, boxes = pd.read_csv(folder / "manifest.csv"), pd.read_csv(folder / "joint_boxes.csv")
    corners = ["x0", "y0", "x1", "y1"]
    hits, covered, away = ({kind: [] for kind in KINDS} for _ in range(3))
    for name, marked in boxes.groupby("image_id"):
        seen = to_network_input(read_radiograph(folder / "images" / Path(films.loc[films["image_id"] == name, "file"].iloc[0]).name), SIDE, True)
        found = locate_joints(seen.image)
        if found.reason:
            print(name, found.reason)
        regions = found.joints.set_index("site")
        middles = {row.site: ((row.x0 + row.x1) / 2, (row.y0 + row.y1) / 2) for row in found.joints.itertuples()}
        for kind, x0, y0, x1, y1 in zip(marked["joint"], *seen.geometry.boxes_to_square(marked[corners].to_numpy()).T, strict=True):
            if kind in KINDS:
                points = np.array([middles[site] for site in KINDS[kind] if site in middles] or [[9.0, 9.0]])
                points = points.mean(axis=0, keepdims=True) if kind == "Wrist" else points
                hits[kind].append(bool(((points >= [x0, y0]) & (points <= [x1, y1])).all(axis=1).any()))
                own = regions.reindex(KINDS[kind])
                inside = (own["x0"] <= (x0 + x1) / 2) & ((x0 + x1) / 2 <= own["x1"]) & (own["y0"] <= (y0 + y1) / 2) & ((y0 + y1) / 2 <= own["y1"])
                covered[kind].append(bool(inside.any()))
                away[kind].append(np.hypot(*((points - [(x0 + x1) / 2, (y0 + y1) / 2]).T / (x1 - x0))).min())
    for kind, found in hits.items():
        low, high = wilson_interval(np.mean(found), len(found))
        print(f"{kind}: middle in the expert's box {sum(found)} of {len(found)} ({low:.2f}-{high:.2f}), "
              f"median distance {np.median(away[kind]):.2f} box widths; expert's middle in the region {sum(covered[kind])}")  # fmt: skip
    reasons = Counter()
    for file in films["file"]:
        seen = to_network_input(read_radiograph(folder / "images" / Path(file).name), SIDE, True)
        reasons[locate_joints(seen.image).reason or "found"] += 1
    print(f"{len(films)} films:", dict(reasons))


if __name__ == "__main__":
    text = "# Medians over phantom hands; tests/benchmarks/joint_places.py writes this file. What the words mean: load_places in __init__.py\n"
    for row in learn().itertuples():
        text += f'\n[{row.site}]\nframe = "{row.frame}"\nu = {row.u:.4f}\nv = {row.v:.4f}\nhalf = {row.half:.4f}\n'
    (Path(__file__).resolve().parents[2] / "rahelpers" / "joint_locator" / "places.toml").write_text(text)
    if len(sys.argv) > 1:
        check(Path(sys.argv[1]))
