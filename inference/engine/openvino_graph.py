"""A grading network as an OpenVINO model, layer by layer, in float32 or with 8-bit convolutions.

Why not OpenVINO's own converter: it takes half a minute for a ResNet-101, at every start of every
worker. Why not its quantiser: see docs/decisions/why-int8-without-nncf.md.

images:   [b, 3, h, w] float32
scores:   [b, 4] float32
features: [b, c, h', w'] float32
"""

import operator
from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import fx, nn

from inference.engine.architectures import GradingNetwork
from inference.engine.errors import EngineError
from inference.engine.runtime import openvino, operations

LEVELS = 256  # of an activation, which is never negative where it is rounded
WEIGHT_LEVELS = 255  # of a weight: as many below zero as above

Value = openvino.Output
Ranges = Mapping[str, float]


def build_model(
    network: GradingNetwork, size_px: tuple[int, int], ranges: Ranges | None = None
) -> openvino.Model:
    """Build the OpenVINO model of a network in evaluation mode; batch normalisation is folded.

    size_px: width, height. ranges: name of a convolution -> the largest value of its input; these
    convolutions compute in 8 bits, all others in float32. Raises EngineError on an unknown layer.
    """
    traced = fx.symbolic_trace(network)
    width, height = size_px
    images = operations.parameter([-1, 3, height, width], np.float32, name="images")
    writer = _Writer(traced, images, ranges or {})
    scores, features = writer.write()
    return openvino.Model([scores, features], [images], "grading")


class _Writer:
    """Writes a traced network's nodes one after the other."""

    def __init__(self, traced: fx.GraphModule, images: openvino.Node, ranges: Ranges) -> None:
        self._traced = traced
        self._images = images.output(0)
        self._ranges = ranges
        self._values: dict[fx.Node, Value] = {}
        self._rounded: dict[tuple[fx.Node, float], Value] = {}

    def write(self) -> tuple[Value, Value]:
        for node in self._traced.graph.nodes:
            if node.op == "output":
                scores, features = node.args[0]
                return self._values[scores], self._values[features]
            if node not in self._values:
                self._values[node] = self._write(node)
        raise EngineError("The network returns nothing.", "Use an architecture of this engine.")

    def _write(self, node: fx.Node) -> Value:
        if node.op == "placeholder":
            return self._images
        if node.op == "call_module":
            return self._write_module(node, self._traced.get_submodule(node.target))
        written = _FUNCTIONS.get((node.op, node.target))
        if written is None:
            raise _unknown(f"{node.op} {node.target}")
        given = [self._values[each] if isinstance(each, fx.Node) else each for each in node.args]
        return written(*given, **node.kwargs).output(0)

    def _write_module(self, node: fx.Node, module: nn.Module) -> Value:
        source = node.args[0]
        if isinstance(module, nn.Conv2d):
            return self._write_convolution(node, module)
        if isinstance(module, nn.Dropout):
            return self._values[source]
        written = _MODULES.get(type(module))
        if written is None:
            raise _unknown(type(module).__name__)
        return written(module, self._values[source]).output(0)

    def _write_convolution(self, node: fx.Node, layer: nn.Conv2d) -> Value:
        weight = layer.weight.detach().double().numpy()
        bias = np.zeros(len(weight)) if layer.bias is None else layer.bias.detach().double().numpy()
        follower = self._normaliser_after(node)
        if follower is not None:
            scale, shift = _scale_and_shift(self._traced.get_submodule(follower.target))
            weight, bias = weight * scale[:, None, None, None], bias * scale + shift
        source, kernel = self._values[node.args[0]], operations.constant(weight.astype(np.float32))
        if node.target in self._ranges:
            source = self._round_source(node.args[0], self._ranges[node.target])
            kernel = _rounded_weights(weight)
        product = _convolve(layer, source, kernel)
        added = operations.add(product, operations.constant(bias.astype(np.float32)[:, None, None]))
        if follower is not None:
            self._values[follower] = added.output(0)
        return added.output(0)

    def _normaliser_after(self, node: fx.Node) -> fx.Node | None:
        """Find the batch normalisation that alone uses a convolution's output."""
        users = list(node.users)
        if len(users) != 1 or users[0].op != "call_module":
            return None
        module = self._traced.get_submodule(users[0].target)
        return users[0] if isinstance(module, nn.BatchNorm2d) else None

    def _round_source(self, source: fx.Node, top: float) -> Value:
        """Round an activation to 8 bits, once for all that use it."""
        key = source, top
        if key not in self._rounded:
            low, high = _number(0.0), _number(top)
            value = operations.fake_quantize(self._values[source], low, high, low, high, LEVELS)
            self._rounded[key] = value.output(0)
            self._values[source] = value.output(0)
        return self._rounded[key]


def _rounded_weights(weight: np.ndarray) -> openvino.Node:
    """Round weights [o, i, kh, kw] to 8 bits, each output channel on its own scale."""
    top = np.abs(weight).max(axis=(1, 2, 3), keepdims=True).clip(min=1e-8).astype(np.float32)
    low, high = operations.constant(-top), operations.constant(top)
    kernel = operations.constant(weight.astype(np.float32))
    return operations.fake_quantize(kernel, low, high, low, high, WEIGHT_LEVELS)


def _scale_and_shift(layer: nn.BatchNorm2d) -> tuple[np.ndarray, np.ndarray]:
    mean, variance, gain, offset = (
        value.detach().double().numpy()
        for value in (layer.running_mean, layer.running_var, layer.weight, layer.bias)
    )
    scale = gain / np.sqrt(variance + layer.eps)
    return scale, offset - mean * scale


def _convolve(layer: nn.Conv2d, source: Value, kernel: openvino.Node) -> openvino.Node:
    if layer.groups != 1 or not isinstance(layer.padding, tuple):
        raise _unknown("a convolution in groups or with padding by name")
    return operations.convolution(
        source,
        kernel,
        strides=list(layer.stride),
        pads_begin=list(layer.padding),
        pads_end=list(layer.padding),
        dilations=list(layer.dilation),
    )


def _pool(layer: nn.MaxPool2d, source: Value) -> openvino.Node:
    kernel, stride, padding = (_pair(v) for v in (layer.kernel_size, layer.stride, layer.padding))
    rounding = "ceil" if layer.ceil_mode else "floor"
    return operations.max_pool(
        source, stride, _pair(layer.dilation), padding, padding, kernel, rounding
    )


def _linear(layer: nn.Linear, source: Value) -> openvino.Node:
    weight, bias = (operations.constant(v.detach().numpy()) for v in (layer.weight, layer.bias))
    return operations.add(operations.matmul(source, weight, False, True), bias)


def _mean(source: Value, dim: tuple[int, ...]) -> openvino.Node:
    axes = operations.constant(np.array(dim, np.int64))
    return operations.reduce_mean(source, axes, keep_dims=False)


def _pair(value: int | tuple[int, int]) -> list[int]:
    return list(value) if isinstance(value, tuple) else [value, value]


def _number(value: float) -> openvino.Node:
    return operations.constant(np.array(value, np.float32))


def _unknown(what: str) -> EngineError:
    return EngineError(
        f"OpenVINO can't be given {what}: this engine does not know how to write it.",
        "Use the device 'torch-cpu', or teach inference/engine/openvino_graph.py that layer.",
    )


_MODULES: dict[type[nn.Module], Callable[..., openvino.Node]] = {
    nn.ReLU: lambda layer, source: operations.relu(source),
    nn.MaxPool2d: _pool,
    nn.Linear: _linear,
}
_FUNCTIONS: dict[tuple[str, object], Callable[..., openvino.Node]] = {
    ("call_function", operator.add): operations.add,
    ("call_function", operator.iadd): operations.add,
    ("call_function", torch.relu): operations.relu,
    ("call_method", "mean"): _mean,
}
