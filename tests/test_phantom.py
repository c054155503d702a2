"""The phantom against the literature's table, and its promises: determinism, masks, counterfactual, no label in nuisance."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from rahelpers.evaluation import bootstrap_interval
from rahelpers.phantom import draw_findings, iter_cohort, make_patient, render
from rahelpers.phantom.anatomy import LENGTHS, build_hand
from rahelpers.phantom.disease import EROSION_SITES, JSN_SITES


def bone_length(bone) -> float:
    """Longest extent of an outline along its main axis, mm."""
    centred = bone.outline - bone.outline.mean(axis=0)
    axis = np.linalg.svd(centred, full_matrices=False)[2][0]
    return float(np.ptp(centred @ axis))


def test_has_all_bones_and_svdh_sites():
    hand = build_hand(make_patient(7, 0), {}, 0)
    names = {b.name for b in hand.bones}
    assert len([n for n in names if n[:2] in ("MC", "PP", "MP", "DP")]) == 19
    assert len(names) == 19 + 8 + 2
    assert len(EROSION_SITES) == 16 and len(JSN_SITES) == 15


@pytest.mark.parametrize("digit", [1, 2, 3, 4, 5])
def test_metacarpal_lengths_are_the_tables(digit):
    mean, sd = LENGTHS[digit][0]
    found = []
    for index in range(150):
        hand = build_hand(make_patient(3, index), {}, 0)
        found.append(bone_length(next(b for b in hand.bones if b.name == f"MC{digit}")))
    # standard error of the mean is sd / 12; the outline's rounded ends and the 70 % of women move it: 0.6 SD in all
    assert abs(np.mean(found) - mean) < 0.6 * sd
    assert 0.6 * sd < np.std(found) < 1.4 * sd


def test_same_bytes_whatever_the_workers():
    one = [f.image.tobytes() for _, f in iter_cohort(5, 6, 64, workers=1)]
    three = [f.image.tobytes() for _, f in iter_cohort(5, 6, 64, workers=3)]
    assert one == three and len(set(one)) == 12


def test_masks_and_boxes():
    for patient, film in iter_cohort(7, 30, 96):
        boxes = film.joints[["x0", "y0", "x1", "y1"]].to_numpy(dtype=float)
        assert ((boxes >= 0) & (boxes <= 1)).all() and (boxes[:, 0] < boxes[:, 2]).all() and (boxes[:, 1] < boxes[:, 3]).all()
        assert film.image.dtype == np.float32 and film.image.min() >= 0 and film.image.max() <= 1
        if patient.label == 0:
            assert not film.lesion_mask.any() and film.joints["erosion"].dropna().sum() == 0
        elif film.lesion_mask.any():
            y, x = (np.argwhere(film.lesion_mask) + 0.5).T / 96
            inside = ((x[:, None] >= boxes[:, 0]) & (x[:, None] <= boxes[:, 2]) & (y[:, None] >= boxes[:, 1]) & (y[:, None] <= boxes[:, 3])).any(axis=1)
            assert inside.mean() > 0.9


def test_ra_spares_the_dip_joints():
    for index in range(60):
        patient = make_patient(7, index)
        if patient.label:
            findings = draw_findings(patient, 0)
            assert not any(s.startswith("DIP") for s in [*findings.narrowing, *findings.erosion])


def test_without_disease_the_film_has_no_lesion_and_is_otherwise_the_same():
    patient = next(p for p in (make_patient(7, i) for i in range(50)) if p.label and p.severity > 0.6)
    own, healthy = render(patient, "L", 128), render(patient, "L", 128, disease=None)
    assert own.lesion_mask.any() and not healthy.lesion_mask.any()
    assert healthy.joints["erosion"].dropna().sum() == 0
    assert np.corrcoef(own.image.ravel(), healthy.image.ravel())[0, 1] > 0.9


def test_hands_of_a_patient_are_mirror_images_in_convention():
    left, right = (render(make_patient(7, 1), s, 96).joints.set_index("site") for s in "LR")
    assert left.loc["MCP2", "x0"] > left.loc["MCP5", "x0"] and right.loc["MCP2", "x0"] < right.loc["MCP5", "x0"]


def test_intensity_and_border_do_not_predict_the_label():
    films = [(p.label, p.patient_id, f.image.mean(), np.r_[f.image[:3].ravel(), f.image[-3:].ravel()].mean()) for p, f in iter_cohort(21, 400, 40)]
    labels, patients = np.array([f[0] for f in films]), np.array([f[1] for f in films])
    for column in (2, 3):
        values = np.array([f[column] for f in films])
        low, high = bootstrap_interval(lambda y, s: roc_auc_score(y, s), labels, values, patients, 200, 0)
        assert low <= 0.5 <= high


@pytest.mark.parametrize(("side", "size"), [("X", 64), ("L", 8)])
def test_refuses_bad_arguments(side, size):
    with pytest.raises(ValueError, match="expected"):
        render(make_patient(7, 0), side, size)
