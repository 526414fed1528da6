"""Tensors of the Open Inference Protocol as rows, and scores as tensors; in JSON or in its binary extension."""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from include.ratchet.serving.payload import Problem
from include.ratchet.serving.protocols import invalid

DATATYPES: dict[str, str] = {
    "string": "BYTES", "integer": "INT64", "float": "FP64", "boolean": "BOOL", "timestamp": "BYTES", "date": "BYTES",
}  # fmt: skip
_NUMPY = {
    "BOOL": np.bool_, "INT8": np.int8, "INT16": np.int16, "INT32": np.int32, "INT64": np.int64, "UINT8": np.uint8,
    "UINT16": np.uint16, "UINT32": np.uint32, "UINT64": np.uint64, "FP32": np.float32, "FP64": np.float64,
}  # fmt: skip


INPUT_TYPES = ("BYTES", *_NUMPY)


def read_rows(inputs: Any, binary: bytes) -> list[dict[str, Any]]:
    """Rows of named fields out of tensors of shape [n] or [n, 1]; NaN stands for a value that is missing.

    Raises:
        Refusal: a tensor is not what it must be.
    """
    if not isinstance(inputs, list) or not inputs:
        raise invalid([Problem(("inputs",), repr(inputs)[:80], "a list of at least one tensor")])
    columns: dict[str, Sequence[Any]] = {}
    offset = 0
    for number, tensor in enumerate(inputs):
        where = ("inputs", number)
        if not isinstance(tensor, dict) or not isinstance(tensor.get("name"), str):
            raise invalid([Problem(where, repr(tensor)[:80], "a tensor with name, shape, datatype and data")])
        name, count, kind = tensor["name"], _count(tensor, where), tensor.get("datatype")
        if kind not in INPUT_TYPES:
            raise invalid([Problem((*where, "datatype"), repr(kind)[:80], ", ".join(INPUT_TYPES))])
        if name in columns:
            raise invalid([Problem((*where, "name"), repr(name), "a name that no other tensor has")])
        size = read_parameters(tensor, where).get("binary_data_size")
        if size is None:
            columns[name] = _read_json(tensor.get("data"), count, where)
        else:
            part = binary[offset : offset + size] if isinstance(size, int) and size >= 0 else b""
            columns[name] = _read_binary(part, kind, count, where)
            offset += len(part)
    lengths = {len(values) for values in columns.values()}
    if len(lengths) > 1:
        raise invalid([Problem(("inputs",), f"{sorted(lengths)} rows", "tensors with the same number of rows")])
    return [
        {name: values[row] for name, values in columns.items() if not _is_missing(values[row])}
        for row in range(lengths.pop())
    ]


def read_parameters(content: Mapping[str, Any], where: tuple[str | int, ...] = ()) -> Mapping[str, Any]:
    """The parameters of a request, a tensor or an output, of which there may be none.

    Raises:
        Refusal: they are no object.
    """
    given = content.get("parameters", {})
    if not isinstance(given, dict):
        raise invalid([Problem((*where, "parameters"), repr(given)[:80], "an object")])
    return given


def read_flag(parameters: Mapping[str, Any], name: str, where: tuple[str | int, ...] = ()) -> bool | None:
    """A parameter that is true or false, None if it was left out.

    Raises:
        Refusal: it is neither.
    """
    given = parameters.get(name)
    if given is not None and not isinstance(given, bool):
        raise invalid([Problem((*where, "parameters", name), repr(given)[:80], "true or false")])
    return given


def write_outputs(
    columns: Mapping[str, Sequence[Any]], requested: Mapping[str, bool]
) -> tuple[list[dict[str, Any]], bytes]:
    """Columns as tensors.

    Args:
        columns: values by name: booleans, whole numbers, floats, texts, or equally long lists of floats.
        requested: which, and whether in binary.
    """
    tensors, binary = [], []
    for name, is_binary in requested.items():
        kind, values = _as_array(columns[name])
        tensor: dict[str, Any] = {"name": name, "datatype": kind, "shape": list(values.shape)}
        if is_binary:
            content = _write_binary(kind, values)
            tensor["parameters"] = {"binary_data_size": len(content)}
            binary.append(content)
        else:
            flat = values.ravel().tolist()
            tensor["data"] = [None if isinstance(one, float) and math.isnan(one) else one for one in flat]
        tensors.append(tensor)
    return tensors, b"".join(binary)


def _count(tensor: Mapping[str, Any], where: tuple[str | int, ...]) -> int:
    shape = tensor.get("shape")
    is_shape = isinstance(shape, list) and shape and all(type(one) is int and one >= 0 for one in shape)
    if not is_shape or any(one != 1 for one in shape[1:]):  # type: ignore[index]
        raise invalid([Problem((*where, "shape"), repr(shape)[:80], "[n] or [n, 1]")])
    return int(shape[0])  # type: ignore[index]


def _read_json(data: Any, count: int, where: tuple[str | int, ...]) -> list[Any]:
    if not isinstance(data, list):
        raise invalid([Problem((*where, "data"), repr(data)[:80], f"a list of {count} values")])
    flat = [one[0] if isinstance(one, list) and len(one) == 1 else one for one in data]
    if len(flat) != count or any(isinstance(one, list | dict) for one in flat):
        raise invalid([Problem((*where, "data"), f"{len(flat)} values", f"{count} single values, as its shape says")])
    return flat


def _read_binary(content: bytes, kind: str, count: int, where: tuple[str | int, ...]) -> list[Any]:
    if kind != "BYTES":
        dtype = np.dtype(_NUMPY[kind])
        if len(content) != count * dtype.itemsize:
            found = f"{len(content)} bytes"
            raise invalid([Problem((*where, "parameters"), found, f"{count * dtype.itemsize} bytes of binary data")])
        return np.frombuffer(content, dtype).tolist()  # type: ignore[no-any-return]
    texts: list[Any] = []
    offset = 0
    try:
        while offset < len(content):
            (length,) = struct.unpack_from("<I", content, offset)
            texts.append(content[offset + 4 : offset + 4 + length].decode())
            offset += 4 + length
    except (struct.error, UnicodeDecodeError) as error:
        raise invalid([Problem((*where, "parameters"), str(error), "texts in UTF-8, each after its length")]) from error
    if len(texts) != count or offset != len(content):
        raise invalid([Problem((*where, "parameters"), f"{len(texts)} texts", f"{count} texts of binary data")])
    return texts


def _is_missing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


def _as_array(values: Sequence[Any]) -> tuple[str, npt.NDArray[Any]]:
    first = values[0]
    if isinstance(first, str):
        return "BYTES", np.array(values, dtype=object)
    if isinstance(first, bool):
        return "BOOL", np.array(values, dtype=np.bool_)
    if isinstance(first, int):
        return "INT32", np.array(values, dtype=np.int32)
    return "FP64", np.array(values, dtype=np.float64)


def _write_binary(kind: str, values: npt.NDArray[Any]) -> bytes:
    if kind != "BYTES":
        return values.tobytes()
    texts = [str(one).encode() for one in values.ravel()]
    return b"".join(struct.pack("<I", len(text)) + text for text in texts)
