"""Runs a SavedModel through TensorFlow's C API, the loader that TF Serving uses; imports neither tensorflow nor tc3net.

    python saved_model_by_c.py LIBRARY_DIR MODEL NAMES.json FOLDER...

NAMES.json holds {"inputs": {name: graph tensor}, "outputs": {name: graph tensor}} of one signature. Each folder is a
request: in.npz is answered by out.npz, or an error of the run is printed as "CODE message".
"""

from __future__ import annotations

import ctypes
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

DTYPES = {1: np.float32, 9: np.int64}  # TF_FLOAT, TF_INT64


class Output(ctypes.Structure):
    """TF_Output."""

    _fields_ = (("oper", ctypes.c_void_p), ("index", ctypes.c_int))


def load_library(folder: str) -> Any:
    ctypes.CDLL(str(next(Path(folder).glob("libtensorflow_framework.so*"))), ctypes.RTLD_GLOBAL)
    library = ctypes.CDLL(str(next(Path(folder).glob("libtensorflow_cc.so*"))), ctypes.RTLD_GLOBAL)
    for name in (
        "TF_NewStatus", "TF_NewGraph", "TF_NewSessionOptions", "TF_LoadSessionFromSavedModel",
        "TF_GraphOperationByName", "TF_AllocateTensor", "TF_TensorData",
    ):  # fmt: skip
        getattr(library, name).restype = ctypes.c_void_p
    library.TF_Message.restype = ctypes.c_char_p
    library.TF_TensorByteSize.restype = ctypes.c_size_t
    library.TF_Dim.restype = ctypes.c_int64
    return library


def main(library: str, model: str, names_path: str, *folders: str) -> int:
    tf = load_library(library)
    status, graph = (ctypes.c_void_p(new()) for new in (tf.TF_NewStatus, tf.TF_NewGraph))
    options = ctypes.c_void_p(tf.TF_NewSessionOptions())
    tags = (ctypes.c_char_p * 1)(b"serve")
    session = tf.TF_LoadSessionFromSavedModel(options, None, model.encode(), tags, 1, graph, None, status)
    if tf.TF_GetCode(status):
        print(tf.TF_GetCode(status), tf.TF_Message(status).decode())
        return 3
    names = json.loads(Path(names_path).read_text())

    def output(tensor: str) -> Output:
        operation, index = tensor.split(":")
        return Output(tf.TF_GraphOperationByName(graph, operation.encode()), int(index))

    def tensor(array: np.ndarray) -> int:
        code = next(code for code, dtype in DTYPES.items() if array.dtype == dtype)
        shape = (ctypes.c_int64 * array.ndim)(*array.shape)
        made = tf.TF_AllocateTensor(code, shape, array.ndim, ctypes.c_size_t(array.nbytes))
        ctypes.memmove(tf.TF_TensorData(ctypes.c_void_p(made)), np.ascontiguousarray(array).ctypes.data, array.nbytes)
        return made

    fed, fetched = list(names["inputs"]), list(names["outputs"])
    for folder in map(Path, folders):
        arrays, results = np.load(folder / "in.npz"), (ctypes.c_void_p * len(fetched))()
        tf.TF_SessionRun(
            ctypes.c_void_p(session), None,
            (Output * len(fed))(*(output(names["inputs"][name]) for name in fed)),
            (ctypes.c_void_p * len(fed))(*(tensor(arrays[name]) for name in fed)), len(fed),
            (Output * len(fetched))(*(output(names["outputs"][name]) for name in fetched)), results, len(fetched),
            None, 0, None, status,
        )  # fmt: skip
        if tf.TF_GetCode(status):
            print(tf.TF_GetCode(status), tf.TF_Message(status).decode(), flush=True)
            continue
        found = {}
        for name, pointer in zip(fetched, results):
            made = ctypes.c_void_p(pointer)
            shape = [tf.TF_Dim(made, axis) for axis in range(tf.TF_NumDims(made))]
            content = ctypes.string_at(tf.TF_TensorData(made), tf.TF_TensorByteSize(made))
            found[name] = np.frombuffer(content, DTYPES[tf.TF_TensorType(made)]).reshape(shape)
        np.savez(folder / "out.npz", **found)
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
