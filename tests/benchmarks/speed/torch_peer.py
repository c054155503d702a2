"""The same networks in native PyTorch, if it is installed.

It is not a dependency of this project: install it for the comparison.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import nn

from rahelpers.network.backend import keras


class TorchTwin(nn.Module):
    """A network of `rahelpers.network.build_network`, layer by layer in PyTorch.

    Parameters
    ----------
    model : keras.Model
        Flat and functional; vgg_small, vgg16 or vgg19.
    """

    def __init__(self, model: keras.Model) -> None:
        super().__init__()
        self.steps, self.sources, self.last = nn.ModuleDict(), {}, model.layers[-1].name
        for layer in model.layers:
            self.sources[layer.name] = [
                t._keras_history.operation.name for t in keras.tree.flatten(layer.input)
            ]
            self.steps[layer.name] = _translate(layer)

    def forward(self, film: torch.Tensor) -> torch.Tensor:
        """Compute logits (n, 1) of films (n, 1, S, S)."""
        known: dict[str, torch.Tensor] = {}
        for name, step in self.steps.items():
            inputs = (known[source] for source in self.sources[name])
            known[name] = film if isinstance(step, _Input) else step(*inputs)
        return known[self.last]


class _Input(nn.Module):
    pass


class _Concatenate(nn.Module):
    def forward(self, *x: torch.Tensor) -> torch.Tensor:
        return torch.cat(x, dim=1)


class _Rescale(nn.Module):
    def __init__(self, scale: float, offset: list[float]) -> None:
        super().__init__()
        self.scale = scale
        self.register_buffer("offset", torch.tensor(offset).reshape(1, -1, 1, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.scale + self.offset


class _Pool(nn.Module):
    def __init__(self, how: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.how = how

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.how(x).float()


def _translate(layer: keras.Layer) -> nn.Module:
    kinds = keras.layers
    if isinstance(layer, kinds.InputLayer):
        return _Input()
    if isinstance(layer, kinds.Conv2D):
        convolution = nn.Conv2d(
            layer.input.shape[-1],
            layer.filters,
            layer.kernel_size,
            padding="same",
            bias=layer.use_bias,
        )
        _copy_weights(layer, convolution, lambda kernel: kernel.transpose(3, 2, 0, 1))
        if layer.activation is keras.activations.relu:
            return nn.Sequential(convolution, nn.ReLU(inplace=True))
        return convolution
    if isinstance(layer, kinds.Dense):
        dense = nn.Linear(layer.input.shape[-1], layer.units)
        _copy_weights(layer, dense, np.transpose)
        return dense
    if isinstance(layer, kinds.BatchNormalization):
        kind = nn.BatchNorm2d if len(layer.input.shape) == 4 else nn.BatchNorm1d
        norm = kind(layer.input.shape[-1], eps=layer.epsilon, momentum=1 - layer.momentum)
        values = (norm.weight, norm.bias, norm.running_mean, norm.running_var)
        with torch.no_grad():
            for value, weight in zip(values, layer.get_weights(), strict=True):
                value.copy_(torch.from_numpy(weight))
        return norm
    if isinstance(layer, kinds.Rescaling):
        return _Rescale(layer.scale, list(layer.offset))
    plain = {
        kinds.Concatenate: _Concatenate,
        kinds.ReLU: lambda: nn.ReLU(inplace=True),
        kinds.MaxPooling2D: lambda: nn.MaxPool2d(2),
        kinds.Dropout: lambda: nn.Dropout(layer.rate),
        kinds.GlobalAveragePooling2D: lambda: _Pool(lambda x: x.mean((2, 3))),
        kinds.GlobalMaxPooling2D: lambda: _Pool(lambda x: x.amax((2, 3))),
    }
    return plain[type(layer)]()


def _copy_weights(
    layer: keras.Layer, module: nn.Module, turn: Callable[[np.ndarray], np.ndarray]
) -> None:
    with torch.no_grad():
        module.weight.copy_(torch.from_numpy(turn(np.asarray(layer.kernel)).copy()))
        if layer.use_bias:
            module.bias.copy_(torch.from_numpy(np.asarray(layer.bias)))


def forward_work(
    model: keras.Model, films: np.ndarray, _: np.ndarray, name: str
) -> Callable[[], object]:
    """Call the twin as PyTorch's guide for CPUs recommends.

    In evaluation mode, without gradients, channels last.

    Parameters
    ----------
    films : float32 array (n, S, S, 1)
    name : {'fp32', 'bf16'}
    """
    twin, x = _prepare(model, films)
    twin.eval()

    def work() -> object:
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=name == "bf16"):
            return twin(x).float().numpy()

    return work


def training_work(
    model: keras.Model, films: np.ndarray, labels: np.ndarray, name: str
) -> Callable[[], object]:
    """Take one step of Adam on a batch.

    Parameters
    ----------
    films : float32 array (n, S, S, 1)
    labels : float32 array (n, 1)
    name : {'fp32', 'bf16'}
    """
    twin, x = _prepare(model, films)
    y, loss = torch.from_numpy(labels), nn.BCEWithLogitsLoss()
    optimizer = torch.optim.Adam(twin.parameters(), lr=1e-5)

    def work() -> float:
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cpu", torch.bfloat16, enabled=name == "bf16"):
            logits = twin(x)
        error = loss(logits.float(), y)
        error.backward()
        optimizer.step()
        return float(error.detach())

    return work


def _prepare(model: keras.Model, films: np.ndarray) -> tuple[TorchTwin, torch.Tensor]:
    twin = TorchTwin(model).to(memory_format=torch.channels_last)
    return twin, torch.from_numpy(films.transpose(0, 3, 1, 2).copy()).contiguous(
        memory_format=torch.channels_last
    )
