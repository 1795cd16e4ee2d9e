"""Reading .npy files: what NumPy wrote comes back, and nothing that a hostile file asks for ever runs."""

from __future__ import annotations

import builtins
import io
import os
import pickle
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from data_prep.pickles.arrays import as_text, load_array
from data_prep.pickles.records import DamagedError, load_records
from tc3net.common.errors import UserError
from tests.support.needs import REAL_ANNOTATIONS, SHARED_DATA, needs


def object_array(*items) -> np.ndarray:
    array = np.empty(len(items), object)
    for index, item in enumerate(items):
        array[index] = item
    return array


def write_npy(path: Path, payload: bytes, shape: tuple[int, ...] = (1,)) -> Path:
    """An object-array .npy file with any bytes in the place of the pickle."""
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(buffer, {"descr": "|O", "fortran_order": False, "shape": shape})
    path.write_bytes(buffer.getvalue() + payload)
    return path


def assert_same(actual, expected) -> None:
    if isinstance(expected, np.ndarray) and expected.dtype != object:
        assert actual.dtype == expected.dtype
        np.testing.assert_array_equal(actual, expected)
    elif isinstance(expected, (list, tuple, np.ndarray)):
        assert type(actual) is type(expected)
        assert len(actual) == len(expected)
        for one, other in zip(actual, expected):
            assert_same(one, other)
    else:
        assert type(actual) is type(expected)
        assert actual == expected


CONTENT = object_array(
    np.arange(6, dtype=np.float32).reshape(2, 3),
    np.asfortranarray(np.arange(6, dtype=">f8").reshape(2, 3)),
    np.zeros((0, 4), np.float16),
    ["Diving", b"Diving", 1, 2.5, None, True],
    [[1.0, 2.0], (3, 4)],
    np.float64(3.5),
    np.str_("größer"),
    np.bytes_(b"name"),
    np.array([True, False]),
    np.array(["a", "bc"]),
    np.array([b"a", b"bc"]),
    object_array([1], "x"),
)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_every_pickle_protocol_comes_back_as_written(tmp_path, protocol):
    path = write_npy(tmp_path / "a.npy", pickle.dumps(CONTENT, protocol=protocol), CONTENT.shape)
    assert_same(load_array(path), CONTENT)


@pytest.mark.parametrize(
    "array", [np.arange(4.0), np.ones((2, 3), np.float16), np.array([b"a"]), np.array(["ä"]), np.zeros((0, 3)), CONTENT]
)
def test_files_saved_by_numpy(tmp_path, array):
    np.save(tmp_path / "a.npy", array)
    assert_same(load_array(tmp_path / "a.npy"), array)


def test_python_2_file(tmp_path):
    """What numpy 1.x under Python 2 wrote: str is bytes, module names are the old ones, sizes may be long."""

    def text(value: bytes) -> bytes:
        return b"U" + bytes([len(value)]) + value  # SHORT_BINSTRING

    def dtype(code: bytes, order: bytes) -> bytes:
        state = b"(K\x03" + text(order) + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00t"
        return b"cnumpy\ndtype\n(" + text(code) + b"K\x00K\x01tR" + state + b"b"

    def array(shape: bytes, kind: bytes, content: bytes) -> bytes:
        start = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(K\x00t" + text(b"b") + b"tR"
        return start + b"(K\x01(" + shape + b"t" + kind + b"\x89" + content + b"tb"

    floats = array(b"\x8a\x01\x02K\x01", dtype(b"f4", b"<"), text(struct.pack("<2f", 1.5, -2)))
    items = b"](" + text("Größe".encode()) + floats + b"e"
    payload = b"\x80\x02" + array(b"K\x02", dtype(b"O8", b"|"), items) + b"."
    name, features = load_array(write_npy(tmp_path / "py2.npy", payload, (2,)))
    assert as_text(name, "x") == "Größe"
    assert_same(features, np.array([[1.5], [-2]], np.float32))


class Call:
    """Pickles as a call of `function` with `args`."""

    def __init__(self, function, *args) -> None:
        self.call = (function, args)

    def __reduce__(self):
        return self.call


def sentinel_calls(sentinel: Path) -> dict[str, Call]:
    command = f"open({str(sentinel)!r}, 'w')"
    return {
        "os.system": Call(os.system, f"touch {sentinel}"),
        "builtins.eval": Call(builtins.eval, command),
        "builtins.exec": Call(builtins.exec, command),
        "builtins.getattr": Call(getattr, str, "join"),
        "io.open": Call(open, str(sentinel), "w"),
        "numpy.load": Call(np.load, str(sentinel)),
        "numpy.save": Call(np.save, str(sentinel), 1),
        "numpy.memmap": Call(np.memmap, str(sentinel), "u1", "w+", 0, 4),
    }


@pytest.mark.parametrize("name", sentinel_calls(Path("x")))
@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_calls_are_refused_by_name_and_not_made(tmp_path, name, protocol):
    sentinel = tmp_path / "sentinel"
    payload = pickle.dumps(object_array(sentinel_calls(sentinel)[name]), protocol=protocol)
    path = write_npy(tmp_path / "hostile.npy", payload)
    with pytest.raises(UserError, match=r"hostile\.npy: it asks for .*" + name.split(".")[-1]):
        load_array(path)
    assert not sentinel.exists()


def global_4(module: str, name: str) -> bytes:
    """STACK_GLOBAL of protocol 4, whose names may be dotted paths."""
    texts = (b"\x8c" + bytes([len(text)]) + text.encode() for text in (module, name))
    return b"".join(texts) + b"\x93"


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("numpy", "dtype.__class__"),
        ("numpy", "f2py.compile"),
        ("numpy.f2py", "compile"),
        ("numpy", "ndarray.tofile"),
        ("numpy.core.multiarray", "_reconstruct.__globals__"),
        ("numpy._core.multiarray", "fromfile"),
        ("numpy.core.numeric", "_frombuffer.__globals__"),
        ("numpy", "_core.multiarray._reconstruct"),
        ("_codecs", "encode.__self__"),
        ("_codecs", "lookup"),
        ("codecs", "encode"),
        ("numpy.testing._private.utils", "runstring"),
        ("__builtin__", "eval"),
    ],
)
def test_other_names_are_refused(tmp_path, module, name):
    path = write_npy(tmp_path / "hostile.npy", b"\x80\x04" + global_4(module, name) + b")R.")
    with pytest.raises(UserError) as caught:
        load_array(path)
    assert f"it asks for {module}.{name}" in str(caught.value)


def test_admitted_names_cannot_be_called_or_changed(tmp_path):
    """An ndarray over a buffer of one's choice, or new defaults for a NumPy function, would be a way in."""
    ndarray, encode = global_4("numpy", "ndarray"), global_4("_codecs", "encode")
    dtype_object = global_4("numpy", "dtype") + b"\x8c\x01O\x85R"
    payloads = {
        "array of objects over raw bytes": ndarray + b"(K\x01\x85" + dtype_object + b"C\x0812345678tR",
        "other encoding": encode + b"\x8c\x01a\x8c\x05rot13\x86R",
        "attribute of a name": encode + b"}N\x8c\x0c__defaults__N\x86s\x86b",
        "bytes of something": global_4("builtins", "bytes") + b"K\x09\x85R",
        "class instance": ndarray + b")\x81",
        "the name itself": ndarray,
        "a dict": b"}",
    }
    for payload in payloads.values():
        path = write_npy(tmp_path / "hostile.npy", b"\x80\x04" + payload + b".")
        with pytest.raises(UserError, match=r"hostile\.npy"):
            load_array(path)


@pytest.mark.parametrize("code", ["V8", "O8,i4", "M8[s]", "f4,f4", "f"])
def test_unusual_data_types_are_refused(tmp_path, code):
    good = pickle.dumps(object_array(np.zeros(1, "f4")), protocol=2)
    assert good.count(b"X\x02\x00\x00\x00f4") == 1
    path = write_npy(
        tmp_path / "a.npy", good.replace(b"X\x02\x00\x00\x00f4", b"X" + struct.pack("<I", len(code)) + code.encode())
    )
    with pytest.raises(UserError, match=r"a\.npy: not a complete \.npy file"):
        load_array(path)


def test_references_neither_loop_nor_multiply(tmp_path):
    loop: list = []
    loop.append(loop)
    with pytest.raises(UserError, match="contains itself"):
        load_array(write_npy(tmp_path / "loop.npy", pickle.dumps(object_array(loop))))
    doubled: list = ["x"]
    for _ in range(64):
        doubled = [doubled, doubled]
    (loaded,) = load_array(write_npy(tmp_path / "doubled.npy", pickle.dumps(object_array(doubled))))
    assert loaded[0] is loaded[1]


def test_truncated_and_foreign_files_are_named(tmp_path):
    np.save(tmp_path / "objects.npy", CONTENT)
    np.save(tmp_path / "floats.npy", np.ones((5, 4)))
    for name in ("objects.npy", "floats.npy"):
        raw = (tmp_path / name).read_bytes()
        for keep in (0, 5, 60, len(raw) // 2, len(raw) - 1):
            (tmp_path / name).write_bytes(raw[:keep])
            with pytest.raises(UserError, match=rf"{name}: not a complete \.npy file"):
                load_array(tmp_path / name)
    np.savez(tmp_path / "archive.npz", a=1)
    with pytest.raises(UserError, match=r"archive\.npz: not a complete \.npy file"):
        load_array(tmp_path / "archive.npz")
    with pytest.raises(UserError, match=r"absent\.npy: no such file"):
        load_array(tmp_path / "absent.npy")
    with pytest.raises(UserError, match="cannot be read"):
        load_array(tmp_path)
    write_npy(tmp_path / "shape.npy", pickle.dumps(object_array(1, 2)), (3,))
    with pytest.raises(UserError, match="shape"):
        load_array(tmp_path / "shape.npy")


@pytest.mark.parametrize("put", [b"r\xff\xff\xff\x7f", b"p2147483647\n", b"q\xff"], ids=["4 bytes", "text", "1 byte"])
def test_a_number_to_remember_by_takes_no_memory(put: bytes) -> None:
    """The pickle machine would keep a list of 2^32 places, 32 GB: one flipped byte in a file does that."""
    payload = pickle.dumps([1, 2], protocol=2)
    assert payload[2:5] == b"]q\x00"
    with pytest.raises(DamagedError, match=r"PUT \d+ at byte 3"):
        load_records(io.BytesIO(payload[:3] + put + payload[5:]), "x.npy")
    assert load_records(io.BytesIO(payload), "x.npy") == [1, 2]


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 10_000), st.integers(0, 255))
def test_a_flipped_byte_never_does_anything_but_load_or_raise(tmp_path, position, value):
    payload = bytearray(pickle.dumps(CONTENT, protocol=4))
    payload[position % len(payload)] = value
    try:
        load_array(write_npy(tmp_path / "flipped.npy", bytes(payload), CONTENT.shape))
    except UserError as error:
        assert "flipped.npy" in str(error)


def test_as_text():
    assert as_text(np.bytes_(b"a"), "x") == as_text(np.str_("a"), "x") == as_text("a", "x") == "a"
    for value in (b"\xff", 3, None):
        with pytest.raises(UserError, match=r"names\.npy: found .*; expected a name as text"):
            as_text(value, "names.npy")


@needs(REAL_ANNOTATIONS)
def test_every_real_file_reads_as_numpy_reads_it():
    files = sorted(SHARED_DATA.glob("*/*.npy"))
    assert len(files) > 30
    for path in files:
        loaded = load_array(path)
        with open(path, "rb") as file:
            np.lib.format.read_magic(file)
            shape, _, dtype = np.lib.format.read_array_header_1_0(file)
            expected = pickle.load(file, encoding="bytes") if dtype.hasobject else np.load(path)
        assert loaded.shape == shape
        assert loaded.dtype == dtype
        if dtype.hasobject:
            assert_same(loaded, expected)
        else:
            np.testing.assert_array_equal(loaded, expected)
