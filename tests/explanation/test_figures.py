"""Figures of explanations say what they show, and are saved with their alt text."""

import numpy as np
import pandas as pd
import pytest

from rahelpers.explanation.figures import (
    describe_map,
    plot_board,
    plot_cascade,
    plot_explanation,
    plot_gallery_of_maps,
    plot_heatmaps,
    save_figure,
)
from rahelpers.explanation.scoreboard import make_board

IMAGE = np.full((48, 48), 90, np.uint8)
HEAT = np.zeros((48, 48))
HEAT[4, 40] = 2.0
LESION = HEAT > 0


def texts(figure):
    return (
        " ".join(
            t.get_text()
            for axis in figure.axes
            for t in [axis.title, axis._left_title, *axis.texts]
        )
        + figure.get_suptitle()
    )


def test_paper_figure_has_a_scale_bar_of_a_round_length_only_where_the_spacing_is_known():
    assert "50 mm" in texts(plot_explanation(IMAGE, HEAT, "RA (phantom)", LESION, spacing_mm=4.0))
    assert "10 mm" in texts(plot_explanation(IMAGE, HEAT, "RA (phantom)", LESION, spacing_mm=1.0))
    assert " mm" not in texts(plot_explanation(IMAGE, HEAT, "RA (phantom)"))
    bar = plot_explanation(IMAGE, HEAT, "RA (phantom)", spacing_mm=4.0).axes[0].lines[0].get_xdata()
    assert bar[1] - bar[0] == pytest.approx(50 / 4)


def test_alt_text_states_the_finding():
    assert "upper right" in (alt := describe_map(IMAGE, HEAT, LESION))
    assert "inside" in alt
    assert "100.0%" in alt
    assert "outside" in describe_map(IMAGE, HEAT, ~LESION)
    assert "flat" in describe_map(IMAGE, 0 * HEAT, LESION)
    assert "knows no lesion" in describe_map(IMAGE, HEAT, None)


def test_figures_are_saved_with_their_alt_text(tmp_path):
    from PIL import Image

    figure, alt = (
        plot_explanation(IMAGE, HEAT, "RA (phantom)", LESION, 4.0),
        describe_map(IMAGE, HEAT, LESION),
    )
    png, svg, text = save_figure(figure, tmp_path / "figure_1", alt)
    with Image.open(png) as picture:
        assert picture.info["Description"] == alt and picture.width > 1500
    assert alt in svg.read_text()
    assert text.read_text().strip() == alt
    assert svg.read_text().count("<svg") == 1
    with pytest.raises(ValueError, match="alt is empty"):
        save_figure(figure, tmp_path / "x", " ")


def test_a_flat_map_is_named_as_flat():
    assert "even: flat" in texts(
        plot_heatmaps(IMAGE, {"hot": HEAT, "even": 0 * HEAT}, "RA (phantom)", LESION)
    )
    figure = plot_gallery_of_maps(
        np.stack([IMAGE] * 5), np.stack([HEAT] * 5), list("abcde"), "RA (phantom)"
    )
    assert [axis.title.get_text() for axis in figure.axes][:5] == list("abcde")


def test_board_and_cascade_name_source_and_counts():
    rows = [
        {
            "image_id": f"f{i}",
            "patient_id": f"p{i}",
            "method": m,
            "target": "lesions",
            "score": s,
            "value": 0.1 * i,
            "chance": 0.03,
        }
        for i in range(6)
        for m in ("gradcam", "edges")
        for s in ("hit", "ap")
    ]
    board = make_board(
        pd.DataFrame(rows).assign(
            value=lambda t: t["value"].where(t["score"] == "ap", t["value"] > 0.2).astype(float)
        ),
        ("edges",),
    )
    assert "RA (phantom) · lesions · 6 films of 6 patients" in texts(
        plot_board(board, "lesions", ("hit", "ap"), "RA (phantom)")
    )
    cascade = pd.DataFrame(
        [
            {
                "film": 0,
                "draw": 0,
                "method": "gradcam",
                "block": b,
                "depth": d,
                "rank_correlation": 0.5,
                "ssim": 0.4,
            }
            for d, b in enumerate(("logit", "block5"), 1)
        ]
    )
    figure = plot_cascade(cascade, ["gradcam"], "RA (phantom)")
    assert [t.get_text() for t in figure.axes[0].get_xticklabels()] == [
        "trained",
        "logit",
        "block5",
    ]
    assert "1 films" in texts(figure)
