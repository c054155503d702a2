"""COCO annotations of films: run lengths, compressed or not, and polygons."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Box = tuple[float, float, float, float]  # x0, y0, x1, y1
COCO_SHAPE = "a COCO file with images, annotations and categories"


@dataclass(frozen=True)
class CocoFilm:
    """Annotations of one film.

    Attributes
    ----------
    width, height : int
        Pixels.
    annotations : list of (category name, annotation)
    """

    width: int
    height: int
    annotations: list[tuple[str, dict]] = field(default_factory=list)


def read_json(path: Path, expected: type, shape: str) -> Any:
    """Read a JSON file whose outermost value has the type `expected`.

    Raises
    ------
    ValueError
        If the file is not JSON, or holds another type; `shape` says what was expected.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8-sig"))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ValueError(f"{path}: not a JSON file ({error}); expected {shape}") from None
    if not isinstance(found, expected):
        raise ValueError(f"{path}: expected {shape}, found a {type(found).__name__}")
    return found


def read_coco(path: Path) -> tuple[dict[str, CocoFilm], set[str]]:
    """Read the annotations of each film, and the names of all categories.

    Returns
    -------
    films : dict
        Stem of the film -> its annotations. A film without annotations is included: somebody
        looked at it and found nothing.
    categories : set of str

    Raises
    ------
    ValueError
        If a part of the file is missing, or refers to something that the file does not hold.
    """
    found = read_json(path, dict, COCO_SHAPE)
    parts = ("images", "annotations", "categories")
    missing = [key for key in parts if not isinstance(found.get(key), list)]
    if missing:
        raise ValueError(
            f"{path}: lacks {', '.join(missing)}; expected {COCO_SHAPE}, found"
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
            f"{path}: an entry is incomplete, or refers to something that the file does not hold"
            f" ({type(error).__name__}: {error}); expected {COCO_SHAPE}"
        ) from None
    return films, set(names.values())


def film_stem(file_name: str) -> str:
    """Stem of a film as its file on disk has it.

    Annotation tools may have written `X_bmp.rf.0123.jpg` for `X.bmp`: that gives `X` too.
    """
    return re.sub(r"_bmp(\.rf\.[0-9a-zA-Z]+)?$", "", Path(str(file_name)).stem)


def to_run_lengths(annotation: dict, film: CocoFilm) -> list[dict]:
    """Turn a segmentation into run lengths that carry the size of their film.

    Polygons carry no size. They are drawn here, at the size of the film that was annotated, so that
    a mask that was drawn for a film of another size is noticed later.
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


def box_of(annotation: dict, film: CocoFilm) -> Box | None:
    """Box of an annotation in pixels: its `bbox`, else the box around its mask.

    None where the annotation is empty.
    """
    from pycocotools import mask as coco

    box = annotation.get("bbox")
    if not box:
        runs = [compress(one) for one in to_run_lengths(annotation, film)]
        if not runs:
            return None
        box = coco.toBbox(coco.merge(runs))
    x, y, width, height = (float(v) for v in box)
    return (x, y, x + width, y + height) if width > 0 and height > 0 else None


def compress(runs: dict) -> dict:
    """Run lengths in COCO's compressed form, whichever form they come in."""
    from pycocotools import mask as coco

    is_compressed = isinstance(runs["counts"], (bytes, str))
    return runs if is_compressed else coco.frPyObjects(runs, *runs["size"])
