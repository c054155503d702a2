"""Grad-CAM as in the paper, HiResCAM and Grad-CAM++: from the logit, at any layer, for many films in one call."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

from rahelpers.inference import as_batch
from rahelpers.tensorflow_quiet import keras, tf

METHODS = ("gradcam", "hirescam", "gradcam++")
NOISE = 1e-6  # a peak below this share of the terms that were added up is float32's rounding, not heat


@dataclass(frozen=True)
class GradCam:
    """Heat maps of some films.

    Attributes
    ----------
    maps : float32 array (n, S, S)
        In [0, 1], at the film's size; each film's peak is 1 before it is enlarged. All zero where flat.
    flat : bool array (n,)
        True where no place speaks for the class: there is nothing to show.
    raw : float32 array (n, h, w)
        At the layer's size, before ReLU and scaling: below 0 a place speaks against the class.
    """

    maps: np.ndarray
    flat: np.ndarray
    raw: np.ndarray


_Functional = type(keras.Model(_film := keras.Input((1,)), _film))  # Keras keeps the class's name to itself


@lru_cache(maxsize=8)
def flatten_network(model: keras.Model) -> keras.Model:
    """The same network, with the same weights, without networks as layers: every inner layer is found by its name.

    Parameters
    ----------
    model : keras.Model
        Functional or Sequential; its layers may be such networks too.

    Returns
    -------
    keras.Model
        Shares its layers with `model`: a weight that changes there changes here.

    Raises
    ------
    ValueError
        If the network is neither functional nor Sequential.
    """
    if not isinstance(model, (keras.Sequential, _Functional)) or not model.built:
        raise ValueError(f"{model.name} is a {type(model).__name__}: expected a functional or a built Sequential network")
    if not any(isinstance(layer, keras.Model) for layer in model.layers) and isinstance(model, _Functional):
        return model
    inputs = [keras.Input(tensor.shape[1:], dtype=tensor.dtype, name=tensor.name) for tensor in model.inputs]
    outputs = _replay(model, inputs)
    return keras.Model(inputs if len(inputs) > 1 else inputs[0], outputs, name=f"{model.name}_flat")


def raise_map(model: keras.Model, layer_name: str, channel: int, amount: float) -> keras.Model:
    """The same network, with the same weights, in which one map is brighter by `amount` everywhere: what a gradient on a feature map predicts.

    Parameters
    ----------
    model : keras.Model
    layer_name : str
        A layer with a stack of maps.
    channel : int
        Number of the map.
    amount : float

    Returns
    -------
    keras.Model
    """
    flat = flatten_network(model)
    offset = np.zeros(find_output(flat, layer_name).shape[-1])
    offset[channel] = amount
    brighter = keras.layers.Rescaling(1.0, offset=offset.tolist(), name="brighter")
    inputs = [keras.Input(tensor.shape[1:], dtype=tensor.dtype, name=tensor.name) for tensor in flat.inputs]
    outputs = _replay(flat, inputs, lambda name, x: brighter(x) if name == layer_name else x)
    return keras.Model(inputs if len(inputs) > 1 else inputs[0], outputs, name=f"{model.name}_brighter")


Edit = Callable[[str, keras.KerasTensor], keras.KerasTensor]  # a layer's name and what it gives -> what goes on


def _replay(model: keras.Model, inputs: list[keras.KerasTensor], edit: Edit = lambda _, x: x) -> keras.KerasTensor:
    """Call the layers of a network once more, on other inputs; a network among them is opened."""
    if isinstance(model, keras.Sequential):
        x = inputs[0]
        for layer in model.layers:
            x = _replay(layer, [x], edit) if isinstance(layer, keras.Model) else edit(layer.name, layer(x))
        return x
    known = dict(zip(map(id, model.inputs), inputs, strict=True))
    for depth in sorted(model._nodes_by_depth, reverse=True):  # from the inputs to the output
        for node in model._nodes_by_depth[depth]:
            if node.is_input:
                continue
            args, kwargs = node.arguments.fill_in(known)
            layer = node.operation
            found = _replay(layer, list(keras.tree.flatten(args)), edit) if isinstance(layer, keras.Model) else layer(*args, **kwargs)
            known |= {id(tensor): edit(layer.name, x) for tensor, x in zip(node.outputs, keras.tree.flatten(found), strict=True)}
    return known[id(model.outputs[0])]


def find_output(model: keras.Model, layer_name: str) -> keras.KerasTensor:
    """What a layer gives in a flat network. Not `layer.output`: a layer that two networks share has an output in each.

    Raises
    ------
    ValueError
        If the network has no such layer.
    """
    for nodes in model._nodes_by_depth.values():
        for node in nodes:
            if node.operation.name == layer_name:
                return node.outputs[0]
    raise ValueError(f"layer_name={layer_name!r} is not in {model.name}")


def list_map_layers(model: keras.Model) -> list[str]:
    """Names of the layers whose output is a stack of maps, from the film to the logit."""
    layers = [layer for layer in flatten_network(model).layers if not isinstance(layer, keras.layers.InputLayer)]
    return [layer.name for layer in layers if len(getattr(layer.output, "shape", ())) == 4]


def require_one_logit(model: keras.Model) -> None:
    """Refuse a network that does not end in one logit.

    Raises
    ------
    ValueError
        If the output has another shape, or passed through a sigmoid: its gradient dies away where the network is sure.
    """
    outputs = flatten_network(model).outputs
    if len(outputs) != 1 or tuple(outputs[0].shape) != (None, 1):
        raise ValueError(f"{model.name} has outputs of shape {', '.join(str(tuple(o.shape)) for o in outputs)}: expected (None, 1), one logit")
    last = outputs[0]._keras_history.operation
    name = getattr(getattr(last, "activation", None), "__name__", "linear")
    if name != "linear":
        raise ValueError(f"{model.name} ends in {name}: expected a logit (activation='linear')")


@lru_cache(maxsize=24)
def _traced(model: keras.Model, layer_name: str, method: str) -> tf.types.experimental.ConcreteFunction:
    """One traced call per network, layer and method: a second film does not trace again."""
    flat = flatten_network(model)
    both = keras.Model(flat.input, [find_output(flat, layer_name), flat.output])

    @tf.function(input_signature=[tf.TensorSpec((None, *flat.input_shape[1:]), tf.float32), tf.TensorSpec((), tf.float32)])
    def raw_maps(films: tf.Tensor, sign: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        with tf.GradientTape() as tape:
            tape.watch(films)  # so that what lies behind is recorded; a layer whose map is not the only way to the logit is explained too
            activation, logit = both(films, training=False)
            evidence = sign * tf.cast(logit, tf.float32)
        gradient = tf.cast(tape.gradient(evidence, activation), tf.float32)
        activation = tf.cast(activation, tf.float32)
        terms = _weigh(method, gradient, activation) * activation
        return tf.reduce_sum(terms, axis=-1), tf.reduce_max(tf.reduce_sum(tf.abs(terms), axis=-1), axis=(1, 2))

    return raw_maps.get_concrete_function()  # one call, one graph: nothing that could trace again, or warn of it


def _weigh(method: str, gradient: tf.Tensor, activation: tf.Tensor) -> tf.Tensor:
    """Weight of each map, or of each of its cells; both arguments (n, h, w, channels)."""
    if method == "gradcam":
        return tf.reduce_mean(gradient, axis=(1, 2), keepdims=True)  # Eq. 1
    if method == "hirescam":
        return gradient
    # Grad-CAM++, Eq. 19. With Y = exp(S), the derivatives of Y are exp(S) times powers of S's; exp(S) scales the whole map, and is left out
    squared, cubed = gradient**2, gradient**3
    alpha = tf.math.divide_no_nan(squared, 2 * squared + tf.reduce_sum(activation, axis=(1, 2), keepdims=True) * cubed)
    return tf.reduce_sum(alpha * tf.nn.relu(gradient), axis=(1, 2), keepdims=True)  # their ReLU: only what raises the logit


def compute_gradcam(model: keras.Model, images: np.ndarray, layer_name: str, positive: bool = True, method: str = "gradcam", batch_size: int = 16) -> GradCam:
    """Class activation maps of the logit.

    Parameters
    ----------
    model : keras.Model
        Functional or Sequential, its base nested or not; ends in one logit.
    images : uint8 array (n, S, S), or float array (n, S, S) in [0, 1]
    layer_name : str
        A layer with a stack of maps; one inside a nested base is named as there. Where several layers feed the head, the map shows what goes through
        this one alone.
    positive : bool
        True: evidence for the positive class. False: for the negative one, whose logit is minus the positive one's.
    method : {'gradcam', 'hirescam', 'gradcam++'}
        How the maps are weighed: by their mean gradient; cell by cell by the gradient there (faithful: behind mean pooling and one dense unit the raw
        map adds up to the logit without its bias); by a mean over the cells that raise the logit.
    batch_size : int

    Returns
    -------
    GradCam

    Raises
    ------
    ValueError
        If the layer or method does not exist, the network does not end in one logit, the films are not what it reads (`as_batch`), or a map holds values
        that are not finite.

    References
    ----------
    Selvaraju et al., Grad-CAM, ICCV 2017, Eq. 1 and 2 (arXiv 1610.02391). Draelos & Carin, HiResCAM, 2020 (arXiv 2011.08891).
    Chattopadhyay et al., Grad-CAM++, WACV 2018, Eq. 19 (arXiv 1710.11063).
    """
    if method not in METHODS:
        raise ValueError(f"method={method!r}: expected one of {', '.join(METHODS)}")
    require_one_logit(model)
    names = list_map_layers(model)
    if layer_name not in names:
        raise ValueError(f"layer_name={layer_name!r} has no spatial map in this network; expected one of {', '.join(names)}")
    films = as_batch(images, model)
    function, sign = _traced(model, layer_name, method), tf.constant(1.0 if positive else -1.0)
    found = [function(tf.constant(films[i : i + batch_size]), sign) for i in range(0, len(films), batch_size)]
    raw, size_of_terms = (np.concatenate([f[k].numpy() for f in found]) for k in (0, 1))
    if not np.isfinite(raw).all():
        raise ValueError(f"layer {layer_name} gives a map that is not finite: the network's weights or activations are damaged")
    flat = ~(raw.max(axis=(1, 2)) > NOISE * size_of_terms)
    maps = scale_maps(raw, films.shape[1])
    maps[flat] = 0
    return GradCam(maps, flat, raw)


def scale_maps(raw: np.ndarray, side: int) -> np.ndarray:
    """Raw maps as they are shown: what is negative is cut (Eq. 2), the peak becomes 1, and the map gets the film's size.

    Parameters
    ----------
    raw : float array (n, h, w)
    side : int
        S, pixels.

    Returns
    -------
    float32 array (n, S, S) in [0, 1]
    """
    heat = np.maximum(raw, 0).astype(np.float32)
    peak = heat.max(axis=(1, 2), keepdims=True)
    scaled = np.divide(heat, peak, out=np.zeros_like(heat), where=peak > 0)
    return np.stack([m if m.shape == (side, side) else cv2.resize(m, (side, side), interpolation=cv2.INTER_LINEAR) for m in scaled])
