"""The networks: one logit, and pretrained weights that are really loaded, or refused."""

import h5py
import numpy as np
import pytest

from rahelpers.network.backend import keras
from rahelpers.network.vgg import build_network, change_precision, gradcam_layer


def test_small_network_ends_in_one_logit():
    model = build_network("vgg_small", 64)
    assert model.output_shape == (None, 1) and gradcam_layer(model) == "block5_relu2"
    assert model.get_layer("logit").activation.__name__ == "linear"


def test_weights_of_a_file_are_in_the_network(vgg16_weights):
    model = build_network("vgg16", 64, str(vgg16_weights), "block5")
    with h5py.File(vgg16_weights) as file:
        expected = file["layers/conv2d/vars/0"][:]
    np.testing.assert_array_equal(model.get_layer("block1_conv1").get_weights()[0], expected)
    learning = {
        layer.name[:6]
        for layer in model.layers
        if layer.name.startswith("block") and layer.trainable
    }
    assert learning == {"block5"}


@pytest.mark.parametrize("content", [None, b"not weights"])
def test_weights_that_cannot_be_loaded_are_refused(tmp_path, content):
    path = tmp_path / "w.weights.h5"
    if content:
        path.write_bytes(content)
    with pytest.raises(ValueError, match="weights="):
        build_network("vgg16", 64, str(path))


def test_small_network_takes_no_pretrained_weights():
    with pytest.raises(ValueError, match="vgg_small has no pretrained"):
        build_network("vgg_small", 64, "imagenet")


@pytest.mark.parametrize(
    ("architecture", "layer", "side"),
    [("vgg16", "block5_conv3", 4), ("vgg19", "block5_conv4", 4), ("vgg_small", "block5_relu2", 4)],
)
def test_gradcam_starts_from_the_last_convolution(architecture, layer, side):
    """Selvaraju et al. 2017 explain the last convolution; maps after VGG16's last pooling have only
    a quarter of the cells.
    """
    model = build_network(architecture, 64)
    assert gradcam_layer(model) == layer
    assert model.get_layer(layer).output.shape[1:3] == (side, side)


def test_batch_norm_in_one_pass_learns_the_same():
    films = np.random.default_rng(0).random((6, 32, 32, 1), dtype=np.float32)
    answers = (np.arange(6) % 2).astype(np.float32)[:, None]
    networks = [build_network("vgg_small", 32, seed=3, one_pass=one) for one in (False, True)]
    for network in networks:
        loss = keras.losses.BinaryCrossentropy(from_logits=True)
        network.compile(keras.optimizers.SGD(1e-2), loss)
        for _ in range(3):
            network.train_on_batch(films, answers)
    weights = [network.get_weights() for network in networks]  # moving means and variances too
    for plain, one_pass in zip(*weights, strict=True):
        np.testing.assert_allclose(one_pass, plain, atol=1e-5)


def test_a_faster_copy_gives_the_same_logits():
    model = build_network("vgg_small", 64, seed=3)
    rng = np.random.default_rng(0)
    # weights, moving means and variances that matter
    model.set_weights([w + rng.uniform(0, 0.2, w.shape) for w in model.get_weights()])
    films = rng.random((4, 64, 64, 1), dtype=np.float32)
    twin = build_network("vgg_small", 64, one_pass=True)
    twin.set_weights(model.get_weights())
    np.testing.assert_allclose(
        twin.predict_on_batch(films), model.predict_on_batch(films), rtol=1e-4
    )
    coarse = change_precision(model, "bfloat16").predict_on_batch(films)
    np.testing.assert_allclose(coarse, model.predict_on_batch(films), rtol=0.05)
