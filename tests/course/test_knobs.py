"""The knobs of the phantom: a pure function behind them, and sliders that call it."""

import pytest

from rahelpers.course.knobs import build_knobs, describe_knobs
from rahelpers.phantom.knobs import render_knobs


def test_a_knob_changes_what_it_names():
    film = render_knobs(7, 0, 0.6, 8.0, "MCP2", 4, 2.5, 0)
    sites = film.joints.set_index("site")
    assert sites.loc["MCP2", "erosion"] == 4
    worse = render_knobs(7, 0, 1.0, 20.0, "MCP2", 4, 2.5, 0).joints
    assert worse["erosion"].sum() > film.joints["erosion"].sum()
    html = describe_knobs(film)
    assert f"MCP2 {sites.loc['MCP2', 'jsw_mm']:.1f} mm" in html
    assert "alt=" in html and "phantom" in html


def test_pose_moves_fingers_and_no_finding():
    """Spread fingers are further apart, and a hand tilted by 20 degrees is cos 20 = 0.94 as wide.

    Scores and true widths stay the same.
    """
    plain, wide, tilted = (
        render_knobs(7, 0, 0.6, 8.0, "MCP2", 2, 2.5, spread=s, tilt=a).joints.set_index("site")
        for s, a in ((1.0, 0), (2.0, 0), (1.0, 20))
    )

    def apart(joints, kind):
        second, fifth = (joints.loc[f"{kind}{k}", ["x0", "x1"]].mean() for k in (2, 5))
        return abs(second - fifth)

    assert apart(wide, "PIP") > 1.2 * apart(plain, "PIP")
    assert apart(tilted, "MCP") / apart(plain, "MCP") == pytest.approx(0.94, abs=0.02)
    for other in (wide, tilted):
        assert other[["erosion", "jsn", "jsw_mm"]].equals(plain[["erosion", "jsn", "jsw_mm"]])


def test_sliders_draw_again():
    box = build_knobs(7)
    *knobs, view = box.children
    before = view.value
    next(k for k in knobs if k.description == "severity").value = 0.1
    assert view.value != before and "Erosion score" in view.value


def test_unknown_site_is_refused():
    with pytest.raises(ValueError, match="expected one of MCP1"):
        render_knobs(7, 0, 0.5, 5.0, "DIP2", 1, 2.5, 0)
