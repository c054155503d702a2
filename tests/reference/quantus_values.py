"""What Quantus says about three drawn films; its answers stand in tests/test_scoreboard.py. Not a
test: Quantus needs its own environment.

    python -m venv /tmp/quantus && /tmp/quantus/bin/pip install quantus==0.6.0 &&
    /tmp/quantus/bin/python tests/reference/quantus_values.py

Quantus asks for opencv-python, which overwrites the headless build of the course, so that it is no
dependency of the tests. Source: Hedström et al., Quantus, J Mach Learn Res 2023;24(34):1-11.
"""

import json

import cv2
import numpy as np

SIDE, PARTS = 24, 8


def draw(k: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Film k of three, written as formulas: film, uint8 (24, 24); heat, float64 (24, 24), above 0;
    lesion, bool (24, 24).
    """
    y, x = np.mgrid[0:SIDE, 0:SIDE].astype(float)
    film = np.rint(127.5 + 100 * np.sin(0.31 * x + k) * np.cos(0.23 * y - k)).astype(np.uint8)
    heat = 2.1 + np.sin(0.37 * x + 0.011 * x * y + k) + np.cos(0.29 * y - 0.7 * k)
    lesion = (x - (19, 16, 10)[k]) ** 2 + (y - (2, 4, 16)[k]) ** 2 <= (9, 16, 4)[k]
    return film, heat, lesion


def predict(films: np.ndarray) -> np.ndarray:
    """The logits of a network that looks along a slope, float (n,)."""
    y, x = np.mgrid[0:SIDE, 0:SIDE]
    return ((films / 255.0) * np.sin(0.4 * x - 0.3 * y)).sum(axis=(1, 2)) / 16


def blur(film: np.ndarray) -> np.ndarray:
    """The film as deletion hides it in this comparison."""
    return cv2.GaussianBlur(film, (0, 0), SIDE / 16)


class Network:
    """Only what `quantus.PixelFlipping` asks of a network."""

    def shape_input(self, x, *_, **__):
        return x

    def predict(self, x):
        return predict(x.reshape(-1, SIDE, SIDE))[:, None]


def ask_quantus() -> dict[str, list]:
    """Quantus's answers, one a film."""
    import quantus

    films, heats, lesions = (
        np.stack(part)[:, None] for part in zip(*(draw(k) for k in range(3)), strict=True)
    )
    hidden = np.stack([blur(film[0]) for film in films]).reshape(3, -1)

    def hide(arr: np.ndarray, indices: np.ndarray, **_) -> np.ndarray:
        rows = np.arange(len(arr))[:, None]
        changed = arr.copy()
        changed[rows, indices] = hidden[rows, indices]
        return changed

    plain = {"abs": False, "normalise": False, "disable_warnings": True}
    given = {"a_batch": heats, "s_batch": lesions}
    flip = quantus.PixelFlipping(
        features_in_step=SIDE * SIDE // PARTS,
        perturb_func=hide,
        perturb_func_kwargs={},
        return_auc_per_sample=False,
        **plain,
    )
    others = [draw(k)[1] for k in (1, 2, 0)]
    return {
        "pointing game": [bool(v) for v in quantus.PointingGame(**plain).evaluate_batch(**given)],
        "relevance mass accuracy": [
            float(v) for v in quantus.RelevanceMassAccuracy(**plain).evaluate_batch(**given)
        ],
        "AUC": [float(v) for v in quantus.AUC(**plain).evaluate_batch(**given)],
        "pixel flipping": flip.evaluate_batch(
            model=Network(), x_batch=films.astype(float), y_batch=np.zeros(3, int), a_batch=heats
        ),
        "correlation_spearman": [
            float(
                quantus.similarity_func.correlation_spearman(draw(k)[1].ravel(), others[k].ravel())
            )
            for k in range(3)
        ],
    }


if __name__ == "__main__":
    print(json.dumps(ask_quantus(), indent=1))
