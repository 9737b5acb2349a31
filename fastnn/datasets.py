"""Data sets: the embedded digits, MNIST and Fashion-MNIST, and the user's own npz and idx files."""

from __future__ import annotations

import gzip
import hashlib
import math
import os
import zlib
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .tables import Table, TableBatches, load_csv, load_table

__all__ = [
    "Dataset",
    "Table",
    "TableBatches",
    "load_csv",
    "load_digits",
    "load_fashion_mnist",
    "load_mnist",
    "load_npz",
    "load_table",
    "read_idx",
]

Array = NDArray[Any]

# SHA-256 of the four files of each set, training images and labels first.
CHECKSUMS = {
    "mnist": {
        "train-images-idx3-ubyte.gz": "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
        "train-labels-idx1-ubyte.gz": "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
        "t10k-images-idx3-ubyte.gz": "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
        "t10k-labels-idx1-ubyte.gz": "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
    },
    "fashion_mnist": {
        "train-images-idx3-ubyte.gz": "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
        "train-labels-idx1-ubyte.gz": "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
        "t10k-images-idx3-ubyte.gz": "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
        "t10k-labels-idx1-ubyte.gz": "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
    },
}
MIRRORS = {
    "mnist": ("https://ossci-datasets.s3.amazonaws.com/mnist/", "https://storage.googleapis.com/cvdf-datasets/mnist/"),
    "fashion_mnist": (
        "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
    ),
}


GZIP_RATIO = 1032  # how many bytes one of a gzip file stands for, at most
MAX_IDX_DIMENSIONS = 32


class Dataset(NamedTuple):
    """A data set with a fixed test part: `X_train, y_train, X_test, y_test = load_digits()`.

    Attributes
    ----------
    X_train, X_test : ndarray of uint8, shape (n_samples, n_features)
    y_train, y_test : ndarray of uint8, shape (n_samples,)
        Class labels, counted from 0.
    """

    X_train: Array
    y_train: Array
    X_test: Array
    y_test: Array


def load_digits() -> Dataset:
    """Return the embedded 8 x 8 handwritten digits: 1,442 training and 355 test images with pixels from 0 to 16.

    The test part of UCI's "Optical Recognition of Handwritten Digits" by E. Alpaydin and C. Kaynak, CC BY 4.0.
    The split is fixed: every fifth image of each digit is a test image.

    Returns
    -------
    Dataset

    Examples
    --------
    >>> from fastnn import load_digits
    >>> X_train, y_train, X_test, y_test = load_digits()
    >>> X_train.shape, X_test.shape
    ((1442, 64), (355, 64))
    """
    with np.load(Path(__file__).with_name("data") / "digits.npz") as arrays:
        return Dataset(arrays["X_train"], arrays["y_train"], arrays["X_test"], arrays["y_test"])


def load_mnist(data_dir: str | os.PathLike[str] | None = None) -> Dataset:
    """Return MNIST: 60,000 training and 10,000 test images of 28 x 28 pixels from 0 to 255.

    Parameters
    ----------
    data_dir : path, optional
        Folder that holds the four original files in its folder `mnist`. Default: the environment variable
        FASTNN_DATA_DIR; without it the files are downloaded once into the user's cache folder.

    Returns
    -------
    Dataset

    Raises
    ------
    ValueError
        If a file is not the published one.
    FileNotFoundError
        If `data_dir` lacks a file.
    OSError
        If the files can be downloaded from nowhere.
    ImportError
        If they would have to be downloaded and `pooch` is not installed.
    """
    return _load_images("mnist", data_dir)


def load_fashion_mnist(data_dir: str | os.PathLike[str] | None = None) -> Dataset:
    """Return Fashion-MNIST: 60,000 training and 10,000 test images of 28 x 28 pixels from 0 to 255.

    Like `load_mnist`, with the files in the folder `fashion_mnist`. Copyright 2017 Zalando SE, MIT licence.

    Parameters
    ----------
    data_dir : path, optional
        Folder that holds the four original files in its folder `fashion_mnist`.

    Returns
    -------
    Dataset
    """
    return _load_images("fashion_mnist", data_dir)


def _load_images(name: str, data_dir: str | os.PathLike[str] | None) -> Dataset:
    folder = data_dir or os.environ.get("FASTNN_DATA_DIR")
    files = _find(name, Path(folder)) if folder else _download(name)
    X_train, y_train, X_test, y_test = (read_idx(file) for file in files)
    return Dataset(X_train.reshape(len(X_train), -1), y_train, X_test.reshape(len(X_test), -1), y_test)


def _find(name: str, folder: Path) -> list[Path]:
    """Return the four files of a set below `folder`, their checksums compared."""
    files = []
    for file_name, expected in CHECKSUMS[name].items():
        file = folder / name / file_name
        if not file.is_file():
            raise FileNotFoundError(f"data_dir must hold the file {name}/{file_name}; got {str(folder)!r}, which does not.")
        actual = hashlib.sha256(file.read_bytes()).hexdigest()
        if actual != expected:
            raise ValueError(f"{file} must be the published file with SHA-256 {expected[:12]}...; got {actual[:12]}... ({file.stat().st_size} bytes).")
        files.append(file)
    return files


def _download(name: str) -> list[Path]:
    """Return the four files of a set from the user's cache folder, downloaded there first where they are missing."""
    try:
        import pooch
    except ImportError:
        raise ImportError(
            f"Downloading {name} needs the package pooch: pip install 'fastnn[data]', or name a folder that has the files with data_dir or FASTNN_DATA_DIR."
        ) from None
    folder = pooch.os_cache("fastnn") / name
    return [_retrieve(pooch, name, file, checksum, folder) for file, checksum in CHECKSUMS[name].items()]


def _retrieve(pooch: Any, name: str, file: str, checksum: str, folder: Path) -> Path:
    """Return one file from the first mirror that has it whole."""
    for mirror in MIRRORS[name]:
        try:
            return Path(pooch.retrieve(mirror + file, known_hash=f"sha256:{checksum}", fname=file, path=folder))
        except ValueError as error:  # pooch's word for a wrong checksum
            reason: Exception = error
        except OSError as error:  # no network, refused, no space, not writable
            reason = error
    if isinstance(reason, ValueError):
        raise ValueError(f"{file} of {name} must be the published file with SHA-256 {checksum[:12]}...; got another one from {mirror}.") from reason
    raise OSError(
        f"{file} of {name} could not be downloaded ({type(reason).__name__}). Put the four files into a folder {name} and name the folder above with "
        "data_dir or FASTNN_DATA_DIR."
    ) from reason


def read_idx(path: str | os.PathLike[str]) -> Array:
    """Return the array in an idx file of unsigned bytes, the format of MNIST, gzipped or not.

    Parameters
    ----------
    path : path

    Returns
    -------
    ndarray of uint8

    Raises
    ------
    ValueError
        If the file is truncated or malformed.

    References
    ----------
    Y. LeCun, C. Cortes, C. Burges: The MNIST database, section "File formats".
    """
    with open(path, "rb") as file:
        length, zipped = os.fstat(file.fileno()).st_size, file.read(2) == b"\x1f\x8b"
    try:
        with (gzip.open if zipped else open)(path, "rb") as file:
            return _idx(path, file, length * GZIP_RATIO if zipped else length)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise ValueError(f"{path} must be a whole gzip file; got a truncated or damaged one ({error}).") from None


def _idx(path: str | os.PathLike[str], file: Any, most: int) -> Array:
    """Return the array of a file that has at most so many bytes."""
    first = file.read(4)
    sizes = file.read(4 * first[3]) if first[:3] == b"\x00\x00\x08" and len(first) == 4 else b""
    if len(first) < 4 or first[:3] != b"\x00\x00\x08" or len(sizes) < 4 * first[3]:
        raise ValueError(f"{path} must be an idx file of unsigned bytes; got one that begins with {first.hex(' ') or 'nothing'}.")
    if first[3] > MAX_IDX_DIMENSIONS:
        raise ValueError(f"{path} must be an idx file of at most {MAX_IDX_DIMENSIONS} dimensions; got {first[3]}.")
    shape = tuple(int(size) for size in np.frombuffer(sizes, ">u4"))
    n_bytes = math.prod(shape)
    if n_bytes == 0 and math.prod(max(size, 1) for size in shape) >= 2**63:
        raise ValueError(f"{path} must be an idx file of a size that an array can have; got the shape {shape} in its header.")
    content = file.read(min(n_bytes, most) + 1)
    if len(content) != n_bytes:
        raise ValueError(f"{path} must hold {n_bytes} bytes for the shape {shape} in its header; got {'more' if len(content) > n_bytes else len(content)}.")
    array: Array = np.array(np.frombuffer(content, np.uint8).reshape(shape))  # writable, as users expect
    return array


def load_npz(path: str | os.PathLike[str]) -> dict[str, Array]:
    """Return the arrays `X`, `y`, `X_test`, `y_test` of an npz file, as far as it has them.

    The names `X_train`, `y_train` count as `X`, `y`, and the case of the letters does not matter. Nothing is unpickled.

    Parameters
    ----------
    path : path

    Returns
    -------
    dict of str to ndarray

    Raises
    ------
    ValueError
        If the file is damaged, holds pickled objects, or has no `X`.
    """
    names = {"x": "X", "x_train": "X", "y": "y", "y_train": "y", "x_test": "X_test", "y_test": "y_test"}
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as archive:  # np.load leaves a damaged file open
            arrays = {names[name.lower()]: archive[name] for name in archive.files if name.lower() in names}
            found = archive.files
    except FileNotFoundError:
        raise
    except Exception as error:
        if "Object arrays" in str(error):
            help_ = "Convert it, as with X.astype(float)."
            raise ValueError(f"{path} must be a whole npz file of plain arrays; got an array of Python objects. {help_}") from None
        # a damaged zip raises one of half a dozen kinds
        raise ValueError(f"{path} must be a whole npz file of plain arrays; got a damaged or foreign one ({type(error).__name__}).") from None
    if "X" not in arrays:
        listed = ", ".join(name[:60].encode("unicode_escape").decode() for name in found[:20])
        raise ValueError(f"{path} must hold an array X or X_train; got {listed or 'no array'}.")
    return arrays
