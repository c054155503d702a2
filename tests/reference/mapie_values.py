"""What MAPIE says about drawn cohorts; its answers stand in tests/test_abstention.py. Not a test:
MAPIE is no dependency of the course.

    python -m venv /tmp/mapie && /tmp/mapie/bin/pip install mapie==1.6.0 && /tmp/mapie/bin/python
    tests/reference/mapie_values.py

MAPIE 1.6 has no sets by class: it is calibrated here on the films of one class alone, which is the
same. It knows no patients either: one film each. Source: Cordier et al., Flexible and systematic
uncertainty estimation with conformal prediction via the MAPIE library, COPA 2023.
"""

import json

import numpy as np

ALPHAS = (0.1, 0.25)
PER_CLASS = (37, 20)  # negative and positive patients


def draw() -> tuple[np.ndarray, np.ndarray]:
    """Labels, int (57,), and probabilities, float (57,), written as formulas."""
    labels, k = np.repeat([0, 1], PER_CLASS), np.arange(sum(PER_CLASS))
    return labels, 1 / (1 + np.exp(-(1.4 * labels - 0.8 + 1.7 * np.sin(1.3 * k * k + 0.4))))


def asked() -> np.ndarray:
    """Probabilities of 41 new films."""
    return np.linspace(0.01, 0.99, 41)


def main() -> None:
    from mapie.classification import SplitConformalClassifier
    from sklearn.base import BaseEstimator, ClassifierMixin

    class Network(ClassifierMixin, BaseEstimator):
        """Its film is the probability itself."""

        classes_ = np.array([0, 1])

        def fit(self, X, y):
            return self

        def __sklearn_is_fitted__(self):
            return True

        def predict_proba(self, X):
            return np.column_stack([1 - np.ravel(X), np.ravel(X)])

        def predict(self, X):
            return (np.ravel(X) >= 0.5).astype(int)

    labels, probability = draw()
    found = {}
    for alpha in ALPHAS:
        columns = []
        for label in (0, 1):
            inside = labels == label
            mapie = SplitConformalClassifier(
                Network(), confidence_level=1 - alpha, conformity_score="lac", prefit=True
            )
            mapie.conformalize(probability[inside, None], labels[inside])
            columns.append(mapie.predict_set(asked()[:, None])[1][:, label, 0])
        found[alpha] = ["".join("01"[int(v)] for v in column) for column in columns]
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
