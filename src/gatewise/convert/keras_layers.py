"""Keras 3 layers, models and saved files as modules of ours, and modules as Keras layers.

Initialisers, regularisers and constraints take no part in what a trained model computes, and do
not go along; nor does what a model was compiled with.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import nn

from gatewise.convert._keras_build import build
from gatewise.convert._keras_file import open_keras_file
from gatewise.convert._keras_objects import describe, import_keras
from gatewise.convert._keras_parts import refuse_foreign, take_apart
from gatewise.convert._keras_plan import dtype_of, input_shape, plan


def from_keras(layer: Any) -> nn.Module:
    """Return a torch module that computes what a Keras layer or model computes.

    A file is read without Keras: nothing in it is executed, and no other file is opened for it.
    Of models there are those whose layers follow one another, Sequential or not; models within
    them come out as one row.

    What the layers draw in training is ours: ``recurrent_dropout`` has one mask for all gates,
    where Keras draws one for each, and a `SimpleRNN` has no dropout.

    Args:
        layer: A layer or model of Keras, of any backend, or the path of a ``.keras`` file. The
            layers: LSTM, GRU, SimpleRNN, Bidirectional, Dense, Embedding, Dropout, Activation,
            Masking.

    Returns:
        A `KerasRecurrent` around a layer of `gatewise.nn`, which gives what Keras' layer gives,
        batch first; for Dense, Embedding, Dropout and activations torch's modules; for a model a
        `KerasSequential` of these, a Dense with an activation as two. With copies of the weights
        in the dtype in which they are stored, in eval mode; a layer that several models share
        becomes one for each. ``requires_grad`` is False where a layer, its cell or what is around
        it has ``trainable=False``. The random state stays as it is.

    Raises:
        InvalidTypeError: It is neither, or of a class that is not Keras' own.
        InvalidFileError: The file is missing, damaged, or none of Keras 3.
        InvalidValueError: A layer is none of these, has an option that no layer of ours has, or
            weights of other shapes than it says; it holds code, or a function that is not Keras'
            own; or a model branches, or mixes dtypes. The message names the layer, the option and
            what would work.
        InvalidStateError: A layer was not built yet; or there is no h5py to read a file with.

    Example:
        >>> model = from_keras("reviews.keras")  # doctest: +SKIP
        >>> model(torch.tensor([[12, 7, 3, 0]]))  # doctest: +SKIP
    """
    if not isinstance(layer, str | Path):
        described, store = describe(layer)
        refuse_foreign(described)
        return build(take_apart(described, store))
    with open_keras_file(Path(layer)) as (described, store):
        refuse_foreign(described)
        return build(take_apart(described, store))


def to_keras(module: nn.Module) -> Any:
    """Return Keras layers, of the backend that Keras runs on, that compute what a module does.

    Args:
        module: An `LSTM`, `GRU` or `RNN` of `gatewise.nn`, which becomes layers that return all
            outputs and are called batch first, whatever ``batch_first`` says; what `from_keras`
            returns; `torch.nn`'s Linear, Embedding, Dropout and activations; or several of these
            in a `KerasSequential`, a `torch.nn.Sequential` or a `gatewise.nn.Stack`.

    Returns:
        A built layer with copies of the weights, or a `keras.Sequential` where it takes several;
        without a recurrent layer it takes inputs of any number of axes. A Linear and the
        activation after it become one Dense. Layers whose parameters are frozen are not trainable.
        ``init``, ``precision`` and ``backend`` do not go along.

    Raises:
        InvalidTypeError: There is no such layer in Keras.
        InvalidValueError: A layer has options that Keras lacks, or parameters of which some are
            frozen; or layers have several dtypes. The message names them.
        InvalidStateError: Keras is not installed, or has no backend.

    Example:
        >>> to_keras(GRU(3, 8, bidirectional=True))  # doctest: +SKIP
        <Bidirectional name=bidirectional, built=True>
    """
    planned = plan(module)
    keras = import_keras("to_keras")
    dtype = dtype_of(planned)
    layers = [step.layer(keras, dtype) for step in planned]
    if len(layers) == 1:
        return layers[0]
    shape = input_shape(planned)
    if shape is None:
        model = keras.Sequential(layers)
        model.build()  # without a shape: then it takes any that its layers take
        return model
    given = "int32" if planned[0].kind == "Embedding" else dtype
    return keras.Sequential([keras.Input(shape, dtype=given), *layers])
