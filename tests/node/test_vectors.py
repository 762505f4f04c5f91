"""Vectors travel as .npy files, and nothing else is taken for them."""

from __future__ import annotations

import io

import numpy as np
import pytest

from edge_monitor.errors import NormalsError
from edge_monitor.node.vectors import as_npy, read_vectors


def npy(array: object) -> io.BytesIO:
    """Return any array as a .npy file."""
    file = io.BytesIO()
    np.save(file, np.asarray(array))
    file.seek(0)
    return file


def test_vectors_come_back_as_they_were_sent() -> None:
    """Bit for bit, in their order."""
    sent = [np.array([0.1, 2.0, -3.5], np.float32), np.array([1e-30, 7.0, 8.0], np.float32)]
    read = read_vectors(as_npy(sent), 3, most=2)
    assert read.dtype == np.float32
    assert read.tobytes() == np.stack(sent).tobytes()


@pytest.mark.parametrize(
    ("file", "words"),
    [
        (io.BytesIO(b""), "its header is none"),
        (io.BytesIO(b"RIFF" * 100), "its header is none"),
        (npy(np.zeros((1, 4), np.float32)), "not (n, 3) float32"),
        (npy(np.zeros(3, np.float32)), "not (n, 3) float32"),
        (npy(np.zeros((1, 3), np.float64)), "not (n, 3) float32"),
        (npy(np.zeros((0, 3), np.float32)), "not one to 2 whole ones"),
        (npy(np.zeros((3, 3), np.float32)), "not one to 2 whole ones"),
        (io.BytesIO(npy(np.zeros((2, 3), np.float32)).getvalue()[:-1]), "not one to 2 whole ones"),
        (npy(np.array([[1.0, np.nan, 1.0]], np.float32)), "not all values are finite"),
        (io.BytesIO(npy(np.zeros((1, 3), np.float32)).getvalue().replace(b"(1, 3)", b"(9e9,")), "its header is none"),
        (io.BytesIO(npy(np.zeros((1, 3))).getvalue()[:10] + b"-" * 118), "its header is none"),
    ],
    ids=[
        "empty",
        "sound",
        "dimension",
        "flat",
        "double",
        "none",
        "many",
        "cut off",
        "not finite",
        "header",
        "no header",
    ],
)
def test_another_file_is_refused(file: io.BytesIO, words: str) -> None:
    """One line says what is wrong with it."""
    with pytest.raises(NormalsError) as refused:
        read_vectors(file, 3, most=2)
    assert words in refused.value.message
