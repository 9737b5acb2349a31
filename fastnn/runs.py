"""Checkpoints of a fit: files that hold all that its future depends on, the last ones and the best, in a folder.

Each is a network's file, which `Sequential.load` reads, with the state of the fit, of its callbacks and of its source of
minibatches beside it. It is there as a whole or not at all, whenever the process is killed.
"""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import glob
import json
import math
import os
import re
import threading
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np

import kernels

from . import checkpoints, files, validation, watching
from .checkpoints import FORMAT, OF_FIT
from .custom import Activation
from .fingerprints import described, described_object
from .layers import single
from .optimizers import Optimizer
from .state import NUMBERS, State
from .trainers import Network
from .validation import Array

NAME, BEST = "step-{:012d}.safetensors", "best.safetensors"
FILES = "step-" + "[0-9]" * 12 + ".safetensors"
THREAD = "fastnn checkpoint"
ENDS = {"seed": 2**64, "n_steps": 2**128}  # of epochs as many as Python can count
OURS = re.compile(r"fastnn\b")
KINDS: dict[str, Any] = dict.fromkeys(NUMBERS, int)  # of what is said of a fit
KINDS |= {"last_loss": float, "stopped": bool, "best": float, "is_best": bool, "facts": dict, "callbacks": list, "source": dict}


class Checkpoints:
    """The checkpoints of a fit in a folder.

    Parameters
    ----------
    folder : path
        Made by `make_folder` where there is none.
    every : float
        How many epochs lie between two; below 1 a part of an epoch.
    keep : int
        How many are kept, beside the best one.
    resume : bool
        Whether there may be some already.

    Raises
    ------
    ValueError
        If it has checkpoints and is not to be resumed.
    """

    def __init__(self, folder: Any, every: float, keep: int, resume: bool) -> None:
        self.folder, self.every = files.checked_path("checkpoint", folder, "folder"), validation.positive("checkpoint_every", every)
        if self.every > 1:
            self.every = validation.integer("checkpoint_every above 1", every, 1)
        self.keep = validation.integer("checkpoint_keep", keep, 1)
        self.best, self._written, self._warned = math.nan, (-1, -1, False), False
        self._thread: threading.Thread | None = None
        self._error: Exception | None = None
        found = self._found()
        if found and not resume:
            raise ValueError(f"checkpoint must be a folder without checkpoints unless resume=True; got {self.folder!r} with {len(found)}.")

    def make_folder(self) -> None:
        """Make the folder; raise OSError where it cannot be written."""
        probe = os.path.join(self.folder, f".{os.getpid()}.part")
        try:
            os.makedirs(self.folder, exist_ok=True)
            files.replace(probe, b"")
            os.unlink(probe)
        except OSError as error:
            raise OSError(f"checkpoint must be a folder that can be written; got {self.folder!r}: {error.strerror or error}.") from None

    def _found(self) -> list[str]:
        """Return the paths of the checkpoints, the oldest first."""
        return sorted(glob.glob(os.path.join(glob.escape(self.folder), FILES)))

    # When.

    def batches_left(self, batch: int, n_batches: int) -> int:
        """Return how many minibatches go by until one is due within an epoch."""
        if self.every >= 1 or not n_batches:
            return 1 << 30
        period = max(1, round(self.every * n_batches))
        return period - batch % period

    def epochs_left(self, epoch: int) -> int:
        """Return how many epochs go by until one is due."""
        every = max(1, int(self.every))
        return every - epoch % every

    def is_due(self, epoch: int) -> bool:
        """Return whether one is due after an epoch."""
        return self.epochs_left(epoch - 1) == 1

    # Writing.

    def write(self, network: Network, state: State, facts: dict[str, Any], watchers: list[Any], source: Any) -> None:
        """Write where the fit stands, unless that was done, in a thread, while the fit goes on; one at a time."""
        self.wait()
        now = state.step, state.epoch, state.stopped
        if now == self._written:
            return
        of_callbacks: dict[str, Array] = {}
        states = []
        for i, one in enumerate(remembering(watchers)):
            known, rest = _parts(one)
            of_callbacks |= {f"{OF_FIT}callback.{i}.{name}": A for name, A in known.items()}
            states.append(rest)
        improved = not state.batch and self._improves(state, next(iter(facts["validation_data"]), None))
        fit = {**state.settings(), "best": self.best, "is_best": improved, "facts": facts, "callbacks": states, "source": source.state_dict()}
        try:
            text = files.as_text({"format": FORMAT, **network.settings(), "fit": fit})
        except (files.Damaged, TypeError, ValueError) as error:
            raise TypeError(f"metadata, and state_dict of batches, must hold what JSON can; got {error}.") from None
        try:
            arrays = {f"{OF_FIT}{name}": A for name, A in state.arrays().items()} | {name: A.copy() for name, A in of_callbacks.items()}
            arrays |= checkpoints.named(network.layers, network.weights)
        except MemoryError as error:
            self._error = error
            return
        path = os.path.join(self.folder, NAME.format(state.step))

        def put() -> None:
            try:
                files.write(path, text, arrays)
                if improved:
                    self._link_best(path)
                for old in self._found()[: -self.keep]:
                    os.unlink(old)
                self._written = now
            except Exception as error:
                self._error = error

        thread = threading.Thread(target=put, name=THREAD)
        try:
            thread.start()
        except RuntimeError:  # there is no thread to be had
            put()
        else:
            self._thread = thread

    def wait(self) -> None:
        """Wait until all is written; where that could not be done, warn once: the fit goes on."""
        if self._thread:
            self._thread.join()
        error, self._thread, self._error = self._error, None, None
        if error is None:
            return
        if not isinstance(error, (OSError, MemoryError)):
            raise error
        if not self._warned:
            said = f"{self.folder} cannot be written ({getattr(error, 'strerror', None) or str(error) or 'too little memory'})"
            warnings.warn(f"checkpoint: {said}: the training goes on, the checkpoints before are there.", stacklevel=2)
        self._warned = True

    def finish(self) -> None:
        """Wait until nothing is written any more, whatever came of it."""
        if self._thread:
            self._thread.join()

    def _improves(self, state: State, validation_set: str | None) -> bool:
        """Return whether the last epoch is the best one: by the loss of the first validation set, or that of the training."""
        value = state.history.last("loss" if validation_set is None else f"{validation_set}_loss")
        if value is None:
            return False
        better = math.isnan(self.best) or value < self.best
        self.best = value if better else self.best
        return better

    def _link_best(self, path: str) -> None:
        """Let the best one be this one, by a second name for it where the system has that."""
        best = os.path.join(self.folder, BEST)
        files.check_replaceable(best)
        part = f"{best}.{os.getpid()}.part"
        with contextlib.suppress(FileNotFoundError):
            os.unlink(part)
        try:
            os.link(path, part)
        except OSError:
            with open(path, "rb") as file:
                files.replace(best, file.read())
        else:
            os.replace(part, best)
            with contextlib.suppress(FileNotFoundError):  # it stays where the best one is this one already
                os.unlink(part)

    # Reading.

    def newest(self) -> Saved | None:
        """Return the newest checkpoint that is intact, None where there is none; remove what killed processes have left half written."""
        for part in glob.glob(os.path.join(glob.escape(self.folder), ".*.part")) + glob.glob(os.path.join(glob.escape(self.folder), f"{BEST}.*.part")):
            with contextlib.suppress(OSError):
                os.unlink(part)
        found, saved = self._found()[::-1], None
        damaged: dict[str, str] = {}
        for path in [*found, *glob.glob(os.path.join(glob.escape(self.folder), BEST))] if found else []:
            try:
                saved = Saved(path, *files.read(path))
                break
            except checkpoints.Newer as error:
                raise ValueError(f"{path} must be a checkpoint of format {FORMAT} or older; got format {error}. Update fastnn.") from None
            except (files.Damaged, ValueError, RecursionError) as error:
                damaged[path] = str(error)
            except OSError:
                if os.path.isfile(path):
                    raise
                damaged[path] = "no file"
            with contextlib.suppress(OSError):
                os.replace(path, f"{path}.damaged")
        taken = f"{os.path.basename(saved.path)} is taken" if saved else "none is intact, the training begins anew"
        for path, said in damaged.items():
            warnings.warn(f"checkpoint: {path} is damaged ({said}): {taken}.", stacklevel=2)
        if saved and saved.fit["is_best"]:  # the process may have been killed before that was done
            with contextlib.suppress(OSError):
                self._link_best(saved.path)
        self.best = saved.fit["best"] if saved else self.best
        return saved


class Saved:
    """A checkpoint that was read.

    Raises
    ------
    Damaged
        If it is not what `Checkpoints.write` wrote.
    Newer
        If a newer version wrote it.
    """

    def __init__(self, path: str, settings: Any, arrays: dict[str, Array]) -> None:
        self.path, self.settings = path, settings
        self.arrays = {name: A for name, A in arrays.items() if not name.startswith(OF_FIT)}
        self.of_fit = {name[len(OF_FIT) :]: A for name, A in arrays.items() if name.startswith(OF_FIT)}
        if not isinstance(settings, dict) or not isinstance(settings.get("fit"), dict) or "format" not in settings:
            raise files.Damaged("no state of a fit")
        checkpoints.check_format(settings)
        self.fit: dict[str, Any] = settings["fit"]
        self._check_fit()

    def _check_fit(self) -> None:
        """Raise where the state of the fit has not all its parts, each of its kind, or of lengths that do not belong together."""
        fit, arrays = self.fit, self.of_fit
        for name, kind in KINDS.items():
            if not _is(fit.get(name), kind, ENDS.get(name, 2**62)):
                raise files.Damaged(f"a fit whose {name} is no {kind.__name__} that it can be")
        epoch, batch = fit["epoch"], fit["batch"]
        lengths: dict[str, int] = {"losses": batch, "seconds": epoch} | {name: epoch for name in arrays if name.startswith("history.")}
        if "buffers" not in arrays or (epoch and "history.loss" not in arrays):
            raise files.Damaged("a fit without its history or the state of its optimizer")
        for name, length in lengths.items():
            A = arrays.get(name, np.zeros(0))  # of a quantity that `continue_fit` brought or left an older version wrote no NaN
            if A.dtype != np.float64 or A.ndim != 1 or len(A) > length or (len(A) < length and name in ("losses", "seconds", "history.loss")):
                raise files.Damaged(f"a fit whose {name} is no list of {length} numbers")
        if fit["rows"] < batch or not _is(self.settings.get("n_fits"), int, checkpoints.MAX_FITS) or not _is(fit["source"].get("epoch", 0), int, epoch + 1):
            raise files.Damaged("a fit that counts what cannot be")
        if not all(isinstance(one, dict) for one in fit["callbacks"]):
            raise files.Damaged("callbacks that remember nothing")

    def check(self, network: Network, facts: dict[str, Any]) -> None:
        """Raise where the fit that is to go on has another network, other data, settings, metrics or callbacks."""
        own = json.loads(json.dumps({**network.settings(), **facts}))
        saved = {**self.settings, **self.fit["facts"]}
        for name in ("layers", "n_features", "dtype", "seed", "feature_names", *facts):
            if own[name] != saved.get(name):
                raise ValueError(f"{name} must be as in {self.path} to resume it, {_short(saved.get(name))}; got {_short(own[name])}.")
        if len(self.fit["callbacks"]) != len(facts["callbacks"]):
            raise ValueError(f"{self.path} must have a state for each of {len(facts['callbacks'])} callbacks; got {len(self.fit['callbacks'])}.")

    def restore(self, network: Network, trainer: kernels.Trainer, optimizer: Optimizer) -> State:
        """Give the network and the optimizer what they had, and return the state of the fit."""
        weights, saved = checkpoints.named(network.layers, network.weights), {**self.arrays, "buffers": self.of_fit["buffers"]}
        own = {name: (A.shape, A.dtype) for name, A in weights.items()} | {"buffers": ((trainer.state.size,), trainer.state.dtype)}
        if own != {name: (A.shape, A.dtype) for name, A in saved.items()}:
            raise ValueError(f"{self.path} must be an intact checkpoint; got one with other arrays than its settings name.")
        network.set_weights(checkpoints.listed(network.layers, self.arrays))
        trainer.state[:] = self.of_fit["buffers"].reshape(trainer.state.shape)
        return dataclasses.replace(State.of(self.fit, self.of_fit), optimizer=optimizer, buffers=trainer.state)

    def check_callbacks(self, watchers: list[Any], network: Network) -> None:
        """Raise where a callback of fastnn cannot take back what it knew, which copies try before anything changes."""
        for i, one in enumerate(remembering(watchers)):
            if OURS.match(type(one).__module__):
                trial = copy.copy(one)
                watching.call([trial], "on_fit_begin", network)
                self._restore_callback(i, trial)

    def restore_callbacks(self, watchers: list[Any]) -> None:
        """Give the callbacks what they knew."""
        for i, one in enumerate(remembering(watchers)):
            self._restore_callback(i, one)

    def _restore_callback(self, i: int, one: Any) -> None:
        """Give the callback of a number what it knew."""
        prefix = f"callback.{i}."
        arrays = {name[len(prefix) :]: A for name, A in self.of_fit.items() if name.startswith(prefix)}
        state = {**self.fit["callbacks"][i], **arrays}
        try:
            for name, value in one.state_dict().items():
                if OURS.match(type(one).__module__) and isinstance(value, (int, float)) and not isinstance(state.get(name, 0), (int, float)):
                    raise TypeError(f"{name} is no number")
            one.load_state_dict(state)
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            said = f"{type(error).__name__}: {error}".rstrip(".")
            raise ValueError(f"{self.path} must have a state that {type(one).__name__} can take back; got {said}.") from error


def _is(value: Any, kind: Any, end: int) -> bool:
    """Whether a value is of a kind, and from 0 on below `end` where that is int."""
    return type(value) is kind and (kind is not int or 0 <= value < end)


def remembering(watchers: list[Any]) -> list[Any]:
    """Return the callbacks that have something to remember."""
    found = [one for one in watchers if hasattr(one, "state_dict")]
    for one in found:
        if not hasattr(one, "load_state_dict"):
            raise TypeError(f"callbacks must have load_state_dict where they have state_dict, for checkpoint; got a {type(one).__name__} without.")
    return found


def _parts(callback: Any) -> tuple[dict[str, Array], dict[str, Any]]:
    """Return the arrays that a callback remembers, and what else it does."""
    try:
        known = callback.state_dict()
        if not isinstance(known, dict):
            raise TypeError(validation.shown(known))
        arrays = {name: A for name, A in known.items() if isinstance(A, np.ndarray)}
        files.as_text({name: None if name in arrays else value for name, value in known.items()})
        files.entries(arrays)
    except (files.Damaged, TypeError, ValueError) as error:
        kinds = f"arrays of {', '.join(np.dtype(one).name for one in files.CODES)}"
        kind = type(callback).__name__
        raise TypeError(f"state_dict of {kind} must return a dict of {kinds}, of at most 8 dimensions, and of what JSON can hold; got {error}.") from None
    return arrays, {name: value for name, value in known.items() if name not in arrays}


def facts_of(
    network: Network, X: Array, y: Array, held_out: Mapping[str, tuple[Array, ...]], metrics: Mapping[str, Any], watchers: list[Any], **settings: Any
) -> dict[str, Any]:
    """Return by what a fit is known again: its settings, and shape, dtype and a checksum of some rows of its data."""
    callbacks = remembering(watchers)
    data = {"X": described(X), "y": described(y), "validation_data": {name: [described(A) for A in arrays] for name, arrays in held_out.items()}}
    named = {"callbacks": [type(one).__name__ for one in callbacks], "metrics": list(metrics)}
    each = {f"callbacks[{i}]": described_object(one) for i, one in enumerate(callbacks)} | {
        f"metrics[{name!r}]": described(one) for name, one in metrics.items()
    }
    own = [layer.activation for layer in single(network.layers) if isinstance(getattr(layer, "activation", None), Activation)]
    return data | named | each | {name: described(value) for name, value in {**settings, "activations": own}.items()}


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) < 120 else f"{text[:117]}..."
