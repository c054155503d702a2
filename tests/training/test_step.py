"""Step 02: what it writes in addition to the bundle."""

import pandas as pd
import pytest

from rahelpers.core.config import make_config
from rahelpers.core.store import Run
from rahelpers.curation.step import curate
from rahelpers.network.backend import tf
from rahelpers.training.step import train


def test_tensorboard_has_the_scalars_of_each_epoch(tmp_path):
    """Read back by TensorBoard itself: two epochs, train and validation."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run = Run(
        make_config(n_patients=24, image_size=32, epochs=2, tensorboard=True, run_dir=str(tmp_path))
    )
    curate(run)
    train(run)
    history = pd.read_csv(run.file("train", "history.csv"))
    for split, column in (("train", "train_auc"), ("validation", "validation_auc")):
        events = EventAccumulator(str(run.folder / "tensorboard" / split))
        events.Reload()
        values = [
            float(tf.make_ndarray(event.tensor_proto)) for event in events.Tensors("epoch_auc")
        ]
        assert values == pytest.approx(history[column].tolist(), abs=1e-6)


def test_without_tensorboard_the_run_stops_before_it_trains(tmp_path, monkeypatch):
    monkeypatch.setattr("rahelpers.training.step.find_spec", lambda name: None)
    run = Run(
        make_config(n_patients=24, image_size=32, epochs=2, tensorboard=True, run_dir=str(tmp_path))
    )
    curate(run)
    with pytest.raises(ValueError, match="pip install tensorboard"):
        train(run)
    assert not (run.folder / "02_train" / "record.json").exists()
