"""Write digits.npz, the embedded data set, from the copy that scikit-learn ships: `python make_digits.py`.

Rows keep scikit-learn's order. Every fifth image of each digit goes to the test part, so both parts hold every digit and
every writer in equal shares, and the split depends on no random generator.
"""

from __future__ import annotations

import zipfile
from io import BytesIO
from pathlib import Path

import numpy as np


def main() -> None:
    """Write digits.npz beside this file, the same bytes on every run of one zlib."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    X, y = bunch.data.astype(np.uint8), bunch.target.astype(np.uint8)
    rank_in_class = np.array([np.count_nonzero(y[:i] == y[i]) for i in range(len(y))])
    test = rank_in_class % 5 == 4
    arrays = {"X_train": X[~test], "y_train": y[~test], "X_test": X[test], "y_test": y[test]}
    with zipfile.ZipFile(Path(__file__).with_name("digits.npz"), "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, array in arrays.items():
            buffer = BytesIO()
            np.save(buffer, array)
            archive.writestr(zipfile.ZipInfo(f"{name}.npy"), buffer.getvalue(), zipfile.ZIP_DEFLATED)


if __name__ == "__main__":
    main()
