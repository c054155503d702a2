"""Networks as flat graphs: inner layers by name, and edited copies that share the weights."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np

from rahelpers.network.backend import keras

# the class of functional networks, whose name Keras does not export
_Functional = type(keras.Model(_film := keras.Input((1,)), _film))
# a layer's name and its output -> what the next layers get
Edit = Callable[[str, keras.KerasTensor], keras.KerasTensor]


@lru_cache(maxsize=8)
def flatten_network(model: keras.Model) -> keras.Model:
    """Open the networks inside a network, so that every inner layer is found by its name.

    Parameters
    ----------
    model : keras.Model
        Functional or Sequential; its layers may be such networks too.

    Returns
    -------
    keras.Model
        Shares its layers with `model`, and so its weights. It is `model` itself if that is flat.

    Raises
    ------
    ValueError
        If the network is neither functional nor Sequential.

    Examples
    --------
    >>> from rahelpers.network import flatten_network, keras
    >>> inner = keras.Sequential([keras.Input((8,)), keras.layers.Dense(2, name="inside")])
    >>> outer = keras.Sequential([keras.Input((8,)), inner, keras.layers.Dense(1)])
    >>> flatten_network(outer).get_layer("inside").units
    2
    """
    if not isinstance(model, (keras.Sequential, _Functional)) or not model.built:
        raise ValueError(
            f"{model.name} is a {type(model).__name__}: expected a functional or a built Sequential"
            " network"
        )
    is_nested = any(isinstance(layer, keras.Model) for layer in model.layers)
    if isinstance(model, _Functional) and not is_nested:
        return model
    return _copy(model, f"{model.name}_flat")


def raise_map(model: keras.Model, layer_name: str, channel: int, amount: float) -> keras.Model:
    """Copy a network, with one feature map brighter by `amount` everywhere.

    What then changes in the logit is what the gradient on that map predicts.

    Parameters
    ----------
    model : keras.Model
    layer_name : str
        A layer that gives a stack of maps.
    channel : int
        Number of the map.
    amount : float

    Returns
    -------
    keras.Model
        Shares its weights with `model`.

    Raises
    ------
    ValueError
        If the network has no such layer.

    Examples
    --------
    >>> import numpy as np
    >>> from rahelpers.network import build_network, predict_logits, raise_map
    >>> model, film = build_network("vgg_small", image_size=32), np.zeros((1, 32, 32))
    >>> brighter = raise_map(model, "block5_relu2", channel=3, amount=1.0)
    >>> rise = predict_logits(brighter, film) - predict_logits(model, film)
    >>> weight = model.get_layer("logit").get_weights()[0][3]  # the head averages each map
    >>> bool(np.allclose(rise, weight, atol=1e-5))
    True
    """
    flat = flatten_network(model)
    offset = np.zeros(find_output(flat, layer_name).shape[-1])
    offset[channel] = amount
    brighter = keras.layers.Rescaling(1.0, offset=offset.tolist(), name="brighter")
    return _copy(
        flat, f"{model.name}_brighter", lambda name, x: brighter(x) if name == layer_name else x
    )


def _copy(model: keras.Model, name: str, edit: Edit = lambda _, x: x) -> keras.Model:
    """The layers of a network once more, on inputs of their own, with edited outputs."""
    inputs = [keras.Input(t.shape[1:], dtype=t.dtype, name=t.name) for t in model.inputs]
    outputs = _replay(model, inputs, edit)
    return keras.Model(inputs if len(inputs) > 1 else inputs[0], outputs, name=name)


def _replay(model: keras.Model, inputs: list[keras.KerasTensor], edit: Edit) -> keras.KerasTensor:
    """Call the layers of a network again, on other inputs; networks among them are opened."""
    if isinstance(model, keras.Sequential):
        x = inputs[0]
        for layer in model.layers:
            is_network = isinstance(layer, keras.Model)
            x = _replay(layer, [x], edit) if is_network else edit(layer.name, layer(x))
        return x
    known = dict(zip(map(id, model.inputs), inputs, strict=True))
    for depth in sorted(model._nodes_by_depth, reverse=True):  # from the inputs to the output
        for node in model._nodes_by_depth[depth]:
            if node.is_input:
                continue
            args, kwargs = node.arguments.fill_in(known)
            layer = node.operation
            found = (
                _replay(layer, list(keras.tree.flatten(args)), edit)
                if isinstance(layer, keras.Model)
                else layer(*args, **kwargs)
            )
            known |= {
                id(tensor): edit(layer.name, x)
                for tensor, x in zip(node.outputs, keras.tree.flatten(found), strict=True)
            }
    return known[id(model.outputs[0])]


def find_output(model: keras.Model, layer_name: str) -> keras.KerasTensor:
    """Find the output of a layer in a flat network.

    `layer.output` does not say: a layer that two networks share has an output in each.

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
    """List the layers whose output is a stack of maps, from the film to the logit.

    Examples
    --------
    >>> from rahelpers.network import build_network, list_map_layers
    >>> list_map_layers(build_network("vgg_small", image_size=32))[:4]
    ['block1_conv1', 'block1_bn1', 'block1_relu1', 'block1_pool']
    """
    return [
        layer.name
        for layer in flatten_network(model).layers
        if not isinstance(layer, keras.layers.InputLayer)
        and len(getattr(layer.output, "shape", ())) == 4
    ]


def require_one_logit(model: keras.Model) -> None:
    """Refuse a network that does not end in one logit.

    Raises
    ------
    ValueError
        If the output has another shape, or has passed through a sigmoid, whose gradient vanishes
        when the network is certain.
    """
    outputs = flatten_network(model).outputs
    if len(outputs) != 1 or tuple(outputs[0].shape) != (None, 1):
        raise ValueError(
            f"{model.name} has outputs of shape {', '.join(str(tuple(o.shape)) for o in outputs)}:"
            " expected (None, 1), one logit"
        )
    last = outputs[0]._keras_history.operation
    name = getattr(getattr(last, "activation", None), "__name__", "linear")
    if name != "linear":
        raise ValueError(f"{model.name} ends in {name}: expected a logit (activation='linear')")
