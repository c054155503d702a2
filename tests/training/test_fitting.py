"""Training: after a kill it resumes and ends with the same weights, and neither frozen layers nor
several devices change the result.
"""

import json
import subprocess
import sys

import numpy as np
import pytest
from scipy.ndimage import center_of_mass

from rahelpers.core.config import make_config
from rahelpers.network.augmentation import SHIFT, augment
from rahelpers.network.backend import keras, tf
from rahelpers.network.bundle import predict_logits
from rahelpers.training.fitting import OnePassAdam, fit_network, make_stream

TRAIN, VALIDATION = np.arange(0, 30), np.arange(30, 40)


class Kill(keras.callbacks.Callback):
    """Stops the training in the middle of the second epoch, without tidying up, like SIGKILL."""

    def on_train_batch_end(self, batch, logs=None):
        if len(self.model.history.epoch) == 1 and batch == 1:
            raise KeyboardInterrupt


def fit(films, folder, callbacks=(), choose=True, **values):
    config = make_config(**{"image_size": 32, "epochs": 3, "batch_size": 8} | values)
    folders = folder / "state", folder / "cache"
    return fit_network(*films, TRAIN, VALIDATION, config, 7, *folders, callbacks, choose)


def test_a_killed_training_resumes_and_ends_with_the_same_weights(spotted_films, tmp_path, capsys):
    whole = fit(spotted_films, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        fit(spotted_films, tmp_path / "killed", [Kill()])
    resumed = fit(spotted_films, tmp_path / "killed")
    assert "resumes after epoch 1" in capsys.readouterr().out
    assert resumed.history["epoch"].tolist() == [1, 2, 3]
    for a, b in zip(whole.model.get_weights(), resumed.model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_few_validation_films_choose_nothing(spotted_films, tmp_path, monkeypatch):
    """Then the last epoch is kept, and nothing stops the training early."""
    aucs = iter([0.9, 0.8, 0.7])
    monkeypatch.setattr("rahelpers.training.fitting.compute_auc", lambda *_: next(aucs))
    chosen = fit(spotted_films, tmp_path / "chosen", patience=1)
    assert chosen.history["kept"].tolist() == [True, False]  # the second epoch was not better
    aucs = iter([0.9, 0.8, 0.7])
    last = fit(spotted_films, tmp_path / "last", patience=1, choose=False)
    assert last.history["kept"].tolist() == [False, False, True]
    weights = [f.model.get_weights()[0] for f in (chosen, last)]
    assert np.abs(weights[0] - weights[1]).max() > 0


def test_a_training_that_cannot_be_judged_is_refused(spotted_films, tmp_path, monkeypatch):
    images, labels = spotted_films
    with pytest.raises(ValueError, match="validation holds 10 films of one class .label 1."):
        fit((images, np.where(np.arange(40) < 30, labels, 1)), tmp_path)
    monkeypatch.setattr("rahelpers.training.fitting.predict_rows", lambda *_: np.full(10, np.nan))
    with pytest.raises(FloatingPointError, match="finite after epoch 1: .* lower learning_rate"):
        fit(spotted_films, tmp_path, epochs=1)


@pytest.mark.slow
def test_two_phases_learn_the_head_then_the_last_block(
    spotted_films, tmp_path, vgg16_weights, monkeypatch
):
    # on these easy films the fitted head is already the best network; look at the last epoch
    best = "rahelpers.training.fitting.ValidationWatcher.restore_best"
    monkeypatch.setattr(best, lambda *_: None)
    found = fit(spotted_films, tmp_path, weights=str(vgg16_weights), epochs=2, learning_rate=1e-4)
    assert found.history["epoch"].tolist() == [0, 1, 2], "epoch 0 is the fitted head"
    start = keras.applications.VGG16(include_top=False, weights=None)
    start.load_weights(vgg16_weights)
    for name, moved in (("block4_conv3", False), ("block5_conv1", True), ("block5_conv3", True)):
        before, after = (m.get_layer(name).get_weights()[0] for m in (start, found.model))
        assert np.array_equal(before, after) is not moved
    assert not list((tmp_path / "cache").glob(".*")), "no half-written file is left"


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_the_network_that_comes_out_is_float32(spotted_films, tmp_path, precision):
    found = fit(spotted_films, tmp_path, epochs=1, precision=precision)
    assert {layer.compute_dtype for layer in found.model.layers} == {"float32"}
    assert np.isfinite(predict_logits(found.model, spotted_films[0])).all()
    assert keras.config.dtype_policy().name == "float32", "the policy is restored"


def test_a_batch_depends_only_on_seed_and_step(spotted_films):
    images, labels = spotted_films
    config = make_config(image_size=32, epochs=3, batch_size=8)
    whole = list(make_stream([[images]], labels, TRAIN, config, 7, 0))
    later = list(make_stream([[images]], labels, TRAIN, config, 7, 1))
    assert len(whole) == 12 and len(later) == 8
    for (x, y), (u, v) in zip(whole[4:], later, strict=True):
        np.testing.assert_array_equal(x, u)
        np.testing.assert_array_equal(y, v)
    assert not np.array_equal(whole[0][0], whole[4][0]), "each epoch has its own order"
    each_epoch = [np.concatenate([y for _, y in whole[i : i + 4]]) for i in (0, 4, 8)]
    assert all(len(y) == 30 and y.sum() == labels[TRAIN].sum() for y in each_epoch)


def test_augmentation_keeps_its_limits():
    """A spot in the middle only shifts, at most 5 %; a spot elsewhere also rotates about the
    middle, at most 10 degrees.
    """
    films = np.zeros((200, 101, 101, 1), np.float32)
    films[:, 48:53, 48:53] = 1.0
    seen = augment(tf.constant(films), tf.constant([1, 2]))[..., 0].numpy()
    np.testing.assert_array_equal(augment(tf.constant(films), tf.constant([1, 2]))[..., 0], seen)
    places = np.array([center_of_mass(np.where(s > s.max() / 2, s, 0)) for s in seen]) - 50
    assert np.abs(places).max() <= SHIFT * 101 + 1 and np.abs(places).max() > 3
    films[:, 48:53, 48:53], films[:, 48:53, 88:93] = 0.0, 1.0
    turned = augment(tf.constant(films), tf.constant([1, 2]))[..., 0].numpy()
    spots = (
        np.array([center_of_mass(np.where(s > s.max() / 2, s, 0)) for s in turned]) - 50 - places
    )
    angles, radii = np.degrees(np.arctan2(spots[:, 0], spots[:, 1])), np.hypot(*spots.T)
    assert 5 < np.abs(angles).max() < 12 and radii.min() > 40 * 0.91 and radii.max() < 40 * 1.1
    mirrored = augment(tf.constant(films), tf.constant([1, 2]), mirror=True)[..., 0].numpy()
    left = np.array([center_of_mass(np.where(s > s.max() / 2, s, 0))[1] for s in mirrored]) < 50
    assert 0.35 < left.mean() < 0.65


@pytest.mark.slow
def test_two_devices_train_as_one(spotted_films, tmp_path):
    """Two logical CPU devices in place of two GPUs: MirroredStrategy runs, with losses similar to
    those of one device.
    """
    code = """
import sys, json, numpy as np
from pathlib import Path
import tensorflow as tf
cpu, two = tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2
tf.config.set_logical_device_configuration(cpu, two)
import rahelpers.training.fitting as fitting
from rahelpers.core.config import make_config
folder, found = Path(sys.argv[1]), {}
images, labels = (np.load(folder / f"{name}.npy") for name in ("images", "labels"))
train, validation = np.arange(32), np.arange(32, 40)
for name in ("one", "two"):
    if name == "two":
        fitting.choose_strategy = lambda: tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    config = make_config(image_size=32, epochs=2, batch_size=8, augment=False)
    fit = fitting.fit_network(images, labels, train, validation, config, 7, folder / name, folder)
    found[name] = fit.history["train_loss"].tolist()
print(json.dumps(found))
"""
    for name, array in zip(("images", "labels"), spotted_films, strict=True):
        np.save(tmp_path / f"{name}.npy", array)
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout.splitlines()[-1])
    # batch norm sees half a batch on each device, so the losses are similar, not equal
    assert np.isfinite(found["two"]).all() and abs(found["one"][0] - found["two"][0]) < 0.5


def test_adam_in_one_pass_takes_the_steps_of_keras():
    def network() -> keras.Sequential:
        layers = (
            keras.layers.Conv2D(4, 3, strides=4, use_bias=False),
            keras.layers.BatchNormalization(),
            keras.layers.Flatten(),
            keras.layers.Dense(1),
        )
        return keras.Sequential([keras.Input((32, 32, 1)), *layers])

    films = np.random.default_rng(0).random((6, 32, 32, 1), dtype=np.float32)
    answers = (np.arange(6) % 2).astype(np.float32)[:, None]
    networks = [network(), network()]
    networks[1].set_weights(networks[0].get_weights())
    for learner, adam in zip(networks, (keras.optimizers.Adam, OnePassAdam), strict=True):
        learner.compile(
            adam(keras.optimizers.schedules.CosineDecay(1e-3, 20), weight_decay=1e-2),
            keras.losses.BinaryCrossentropy(from_logits=True),
        )
        for _ in range(5):
            learner.train_on_batch(films, answers)
    for one, other in zip(*(n.get_weights() for n in networks), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)
    # a resumed training reads these
    for one, other in zip(*(n.optimizer.variables for n in networks), strict=True):
        np.testing.assert_allclose(one.numpy(), other.numpy(), atol=1e-5)
