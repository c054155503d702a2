"""Networks as flat graphs: inner layers by name, edited copies that share their weights."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np

from rahelpers.network.backend import keras

_Functional = type(
    keras.Model(_film := keras.Input((1,)), _film)
)  # Keras keeps the class's name to itself


@lru_cache(maxsize=8)
def flatten_network(model: keras.Model) -> keras.Model:
    """The same network, with the same weights, without networks as layers: every inner layer is
    found by its name.

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
        raise ValueError(
            f"{model.name} is a {type(model).__name__}: expected a functional or a built Sequential"
            " network"
        )
    if not any(isinstance(layer, keras.Model) for layer in model.layers) and isinstance(
        model, _Functional
    ):
        return model
    inputs = [
        keras.Input(tensor.shape[1:], dtype=tensor.dtype, name=tensor.name)
        for tensor in model.inputs
    ]
    outputs = _replay(model, inputs)
    return keras.Model(inputs if len(inputs) > 1 else inputs[0], outputs, name=f"{model.name}_flat")


def raise_map(model: keras.Model, layer_name: str, channel: int, amount: float) -> keras.Model:
    """The same network, with the same weights, in which one map is brighter by `amount` everywhere:
    what a gradient on a feature map predicts.

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
    inputs = [
        keras.Input(tensor.shape[1:], dtype=tensor.dtype, name=tensor.name)
        for tensor in flat.inputs
    ]
    outputs = _replay(flat, inputs, lambda name, x: brighter(x) if name == layer_name else x)
    return keras.Model(
        inputs if len(inputs) > 1 else inputs[0], outputs, name=f"{model.name}_brighter"
    )


Edit = Callable[
    [str, keras.KerasTensor], keras.KerasTensor
]  # a layer's name and what it gives -> what goes on


def _replay(
    model: keras.Model, inputs: list[keras.KerasTensor], edit: Edit = lambda _, x: x
) -> keras.KerasTensor:
    """Call the layers of a network once more, on other inputs; a network among them is opened."""
    if isinstance(model, keras.Sequential):
        x = inputs[0]
        for layer in model.layers:
            x = (
                _replay(layer, [x], edit)
                if isinstance(layer, keras.Model)
                else edit(layer.name, layer(x))
            )
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
    """What a layer gives in a flat network. Not `layer.output`: a layer that two networks share has
    an output in each.

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
    layers = [
        layer
        for layer in flatten_network(model).layers
        if not isinstance(layer, keras.layers.InputLayer)
    ]
    return [layer.name for layer in layers if len(getattr(layer.output, "shape", ())) == 4]


def require_one_logit(model: keras.Model) -> None:
    """Refuse a network that does not end in one logit.

    Raises
    ------
    ValueError
        If the output has another shape, or passed through a sigmoid: its gradient dies away where
        the network is sure.
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
