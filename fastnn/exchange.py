"""What a network can be made from, and turned into: the libraries each have a module of their own."""

from __future__ import annotations

import io
import os
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import numpy as np

from . import checkpoints, stack
from .files import replace
from .layers import Scale, Standardize
from .stack import Found
from .validation import Array

T = TypeVar("T", bound="Exchange")


class Exchange:
    """The methods of a network that bring weights of other libraries in, and its own out.

    A network that comes in takes the dtype of its arrays, those that are narrower than float32 as float32.
    """

    @classmethod
    def _of(cls: type[T], found: Found, dtype: Any) -> T:
        """Return the network that was found elsewhere."""
        net: Any = cls(found.layers, found.n_features, found.dtype if dtype is None else dtype)  # type: ignore[call-arg]
        net.feature_names = found.feature_names
        net.metadata |= {} if found.classes is None else {"classes": found.classes}
        made: T = net
        return made

    @classmethod
    def from_arrays(cls: type[T], arrays: Any, activations: Sequence[Any], dtype: Any = None) -> T:
        """Return a network of dense layers with the given weights.

        Parameters
        ----------
        arrays : list of (W, b), or list of array
            Of shapes (n_in, n_out) and (n_out,), as pairs or one after the other; b may be None.
        activations : list of str
            One for each layer.
        dtype : {"float32", "float64"}, optional
            Left out, that of the arrays.

        Examples
        --------
        >>> from fastnn import Sequential
        >>> net = Sequential.from_arrays([[[7.0], [3.0]], [-2.0]], ["identity"])
        >>> net.predict([[1, 0]])
        array([[5.]])
        """
        return cls._of(stack.from_arrays(arrays, activations), dtype)

    def to_arrays(self) -> list[Array]:
        """Return copies of all weights and biases, one after the other: `W, b, W, b, ...`, without those that there are not."""
        net: Any = self
        return [A for pair in net.weights for A in pair if A is not None]

    def to_npz(self, path: str | os.PathLike[str]) -> None:
        """Write the arrays to an npz file: `dense.0.W` of shape (n_in, n_out), `dense.0.b`, `norm.0.gain`, ..., and X's `scale` and `shift`.

        Where targets are standardized, also their `std` and `mean`. It is for NumPy; `save` writes what `load` reads.

        Parameters
        ----------
        path : path
            Replaced as a whole where it exists.
        """
        net: Any = self
        arrays: dict[str, Any] = dict(checkpoints.named(net.layers, net.weights))
        for layer in net.layers:
            if isinstance(layer, (Scale, Standardize)):
                arrays |= dict(zip(("std", "mean") if getattr(layer, "targets", False) else ("scale", "shift"), map(np.asarray, stack.to_scale(layer))))
        file = io.BytesIO()
        np.savez(file, **arrays)
        replace(path, file.getvalue())

    @classmethod
    def from_torch(cls: type[T], model: Any, layers: Sequence[Any] | None = None, names: Sequence[str] | None = None, dtype: Any = None) -> T:
        """Return the network of an `nn.Sequential`, or of a state dict of PyTorch.

        Parameters
        ----------
        model : nn.Sequential, or mapping of str to tensor or array
            Linear, LayerNorm, BatchNorm1d and Dropout layers, and activations. Frozen parameters stay frozen, dropout keeps its rate.
        layers : list of layers, optional
            For a state dict, which does not tell them: as for `Sequential`.
        names : list of str, optional
            For a state dict: what comes before `.weight` and `.bias`, for each layer that has arrays. Left out, they are
            taken in their order.
        dtype : {"float32", "float64"}, optional
            Left out, that of the tensors.

        Raises
        ------
        ValueError
            For a layer that there is not here, by its name, and for names that are missing or left over.

        Examples
        --------
        >>> import numpy as np
        >>> from fastnn import Dense, Sequential
        >>> state = {"fc.weight": np.array([[7.0, 3.0]]), "fc.bias": np.array([-2.0])}
        >>> Sequential.from_torch(state, [Dense(1)]).predict([[1, 0]])
        array([[5.]])
        """
        from . import exchange_torch

        if isinstance(model, Mapping):
            if layers is None:
                raise ValueError("layers must be given for a state_dict, which does not tell them; got None.")
            return cls._of(exchange_torch.read_state(model, layers, names), dtype)
        if layers is not None or names is not None:
            raise ValueError(f"layers and names must be left out for a model, which tells them; got them with a {type(model).__name__}.")
        return cls._of(exchange_torch.read_model(model), dtype)

    def to_torch(self, names: Sequence[str] | None = None) -> Any:
        """Return an `nn.Sequential` with these weights, in evaluation mode.

        `Scale` and `Standardize` become frozen linear layers, calculated in the network's dtype.

        Parameters
        ----------
        names : list of str, optional
            Of the layers that have arrays: then the state dict has the names that a module of one's own takes.

        Raises
        ------
        ImportError
            If PyTorch is not installed.
        """
        from . import exchange_torch

        return exchange_torch.write_model(self, names)

    @classmethod
    def from_sklearn(cls: type[T], model: Any, dtype: Any = None) -> T:
        """Return the network of a fitted MLPClassifier or MLPRegressor of scikit-learn, or of a pipeline of a scaler and one.

        Classes that are not just numbered are in `metadata["classes"]`. A classifier of two classes has one output, the probability
        of the second.

        Parameters
        ----------
        model : MLPClassifier, MLPRegressor or Pipeline
        dtype : {"float32", "float64"}, optional
            Left out, that of its arrays.
        """
        from . import exchange_sklearn

        return cls._of(exchange_sklearn.read_model(model), dtype)

    def to_sklearn(self) -> Any:
        """Return a fitted MLPClassifier or MLPRegressor, in a pipeline behind a scaler where the inputs are scaled.

        One output after softmax is there for two classes: its weights are the differences of those of the two here.

        Raises
        ------
        ImportError
            If scikit-learn is not installed.
        ValueError
            For a layer or an activation that scikit-learn does not have, or hidden layers with different activations.
        """
        from . import exchange_sklearn

        return exchange_sklearn.write_model(self)

    @classmethod
    def from_keras(cls: type[T], model: Any, dtype: Any = None) -> T:
        """Return the network of a built `Sequential` of Keras.

        Parameters
        ----------
        model : keras.Sequential
            Dense, normalization and dropout layers, and activations; `Rescaling` and `Normalization` at the begin, the latter with
            `invert=True` also at the end. What is frozen stays frozen, L1 and L2 penalties stay.
        dtype : {"float32", "float64"}, optional
            Left out, that of its arrays.

        Raises
        ------
        ValueError
            For a layer or an activation that there is not here, by its name.
        """
        from . import exchange_keras

        return cls._of(exchange_keras.read_model(model), dtype)

    def to_keras(self) -> Any:
        """Return a `Sequential` of Keras with these weights.

        `Standardize` becomes `Normalization`, calculated in the network's dtype.

        Raises
        ------
        ImportError
            If Keras is not installed, or none of its backends.
        ValueError
            For a layer or an activation that Keras does not have.
        """
        from . import exchange_keras

        return exchange_keras.write_model(self)

    @classmethod
    def from_onnx(cls: type[T], path: str | os.PathLike[str], output: str | None = None, dtype: Any = None) -> T:
        """Return the network in an ONNX file: linear layers, layer normalization, activations in any spelling, scaled inputs.

        What predictions do without, dropout and noise, is not brought along.

        Parameters
        ----------
        path : path
        output : str, optional
            Which output of the file, where there are several.
        dtype : {"float32", "float64"}, optional
            Left out, that of the weights.

        Raises
        ------
        ImportError
            If the package onnx is not installed.
        ValueError
            For a file that is damaged, or an operator that has no place here, by its name.
        """
        from . import exchange_onnx

        return cls._of(exchange_onnx.read(path, output), dtype)

    def to_onnx(self, path: str | os.PathLike[str]) -> None:
        """Write an ONNX file (opset 24) that predicts what the network predicts, for any number of rows.

        It takes `X` in the network's dtype and returns `outputs` in it; but float64 where inputs are scaled by columns, and where targets
        are standardized. ONNX Runtime has no kernel for the exact `gelu` in float64. A network of bfloat16 is written as one of float32,
        whose products round nothing.

        Parameters
        ----------
        path : path
            Replaced as a whole where it exists.

        Raises
        ------
        ImportError
            If the package onnx is not installed.
        ValueError
            For an activation of one's own.
        """
        from . import exchange_onnx

        exchange_onnx.write(self, path)

    def to_c(self, path: str | os.PathLike[str], name: str | None = None) -> None:
        """Write the network as C source: one file of C99, the weights inside, that needs nothing but libm.

        `void NAME_predict(const float *X, long n_rows, float *outputs)` writes the outputs for some rows; the numbers are `double` in a
        float64 network, X is where columns are scaled, outputs are where targets are standardized. A comment says how to compile it. A network
        of bfloat16 is written as one of float32, whose products round nothing.

        Parameters
        ----------
        path : path
            Replaced as a whole where it exists.
        name : str, optional
            What the functions' names begin with. Left out, the name of the file.

        Raises
        ------
        ValueError
            For an activation of one's own.
        """
        from . import c_source

        c_source.write(self, path, name)
