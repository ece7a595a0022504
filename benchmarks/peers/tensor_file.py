"""Safetensors files, read with the standard library and numpy alone."""

import json
import mmap
import struct

import numpy

_TYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "U8": "u1"}


def read_tensors(path):
    """{name: array} and the file's own strings. The arrays lie in the mapped file: copy what is to be changed."""
    with open(path, "rb") as file:
        data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    strings = header.pop("__metadata__", {})
    tensors = {}
    for name, entry in header.items():
        begin, end = entry["data_offsets"]
        kind = numpy.dtype(_TYPES[entry["dtype"]])
        flat = numpy.frombuffer(data, kind, (end - begin) // kind.itemsize, 8 + length + begin)
        tensors[name] = flat.reshape(entry["shape"])
    return tensors, strings


def read_case(path):
    """The tensors of a file and its configuration, which is stored beside them as JSON."""
    tensors, strings = read_tensors(path)
    return tensors, json.loads(strings["config"])
