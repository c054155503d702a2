"""COCO annotations of films: run lengths, compressed or not, and polygons."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class CocoFilm:
    """Annotations of one film.

    Attributes
    ----------
    width, height : int
    annotations : list of (category name, annotation)
    """

    width: int
    height: int
    annotations: list[tuple[str, dict]] = field(default_factory=list)


def read_json(path: Path, expected: type, shape: str) -> list | dict:
    """A JSON file of the expected outer type.

    Raises
    ------
    ValueError
        If it is not JSON, or of another type; `shape` says what was expected.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8-sig"))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ValueError(f"{path}: not a JSON file ({error}); expected {shape}") from None
    if not isinstance(found, expected):
        raise ValueError(f"{path}: expected {shape}, found a {type(found).__name__}")
    return found


def read_coco(path: Path) -> tuple[dict[str, CocoFilm], set[str]]:
    """Annotations by film, and the names of all categories.

    Returns
    -------
    films : dict
        Stem of the film -> its annotations. A film without annotations is there too: somebody
        looked at it.
    categories : set of str

    Raises
    ------
    ValueError
        If a part is missing or does not fit the others.
    """
    shape = "a COCO file with images, annotations and categories"
    found = read_json(path, dict, shape)
    missing = [
        key
        for key in ("images", "annotations", "categories")
        if not isinstance(found.get(key), list)
    ]
    if missing:
        raise ValueError(
            f"{path}: lacks {', '.join(missing)}; expected {shape}, found"
            f" {', '.join(found) or 'nothing'}"
        )
    try:
        names = {c["id"]: c["name"] for c in found["categories"]}
        stems = {i["id"]: film_stem(i["file_name"]) for i in found["images"]}
        films = {
            film_stem(i["file_name"]): CocoFilm(int(i["width"]), int(i["height"]))
            for i in found["images"]
        }
        for one in found["annotations"]:
            films[stems[one["image_id"]]].annotations.append((names[one["category_id"]], one))
    except (KeyError, TypeError) as error:
        raise ValueError(
            f"{path}: an entry lacks or does not find {error}; expected {shape}"
        ) from None
    return films, set(names.values())


def film_stem(file_name: str) -> str:
    """Stem of a film as its file on disk has it, also where an annotation tool wrote
    `X_bmp.rf.0123.jpg` for `X.bmp`.
    """
    return re.sub(r"_bmp(\.rf\.[0-9a-zA-Z]+)?$", "", Path(str(file_name)).stem)


def to_run_lengths(annotation: dict, film: CocoFilm) -> list[dict]:
    """A segmentation as run lengths that know their size, so that a mask of another film's size is
    found out.

    Polygons are drawn here for that reason: they carry no size of their own.
    """
    from pycocotools import mask as coco

    found = annotation.get("segmentation")
    if isinstance(found, dict) and "counts" in found and "size" in found:
        return [{"counts": found["counts"], "size": list(found["size"])}]
    if isinstance(found, list):
        # fewer than three corners enclose nothing, and pycocotools refuses them
        polygons = [p for p in found if isinstance(p, list) and len(p) >= 6]
        return coco.frPyObjects(polygons, film.height, film.width) if polygons else []
    raise ValueError(
        f"a segmentation is a {type(found).__name__}; expected run lengths (counts, size) or"
        " polygons"
    )


def box_of(annotation: dict, film: CocoFilm) -> tuple[float, float, float, float] | None:
    """x0, y0, x1, y1 of an annotation in pixels: its `bbox`, else the box around its mask; None
    where it is empty.
    """
    from pycocotools import mask as coco

    box = annotation.get("bbox")
    if not box:
        runs = [
            one if isinstance(one["counts"], (bytes, str)) else coco.frPyObjects(one, *one["size"])
            for one in to_run_lengths(annotation, film)
        ]
        if not runs:
            return None
        box = coco.toBbox(coco.merge(runs))
    x, y, width, height = (float(v) for v in box)
    return (x, y, x + width, y + height) if width > 0 and height > 0 else None
