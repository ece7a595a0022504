#!/usr/bin/env python3
"""From the start of a process to its first feature: the weights come from a file, the image is at hand.

    first_feature.py --build build/release/benchmarks [--programs build/release/examples] [--arch nano8 base16] [--out first.json]

The weights are DINO's names and sizes with drawn numbers, as safetensors in a folder that is made for them, and are in the
system's memory when time is taken: they are read from the mapped file. Each run is a process of its own, of
`dssl-features --once` of the benchmarks, until it has printed a number of the first feature, and with --programs one of the
program dssl-features too, which reads an image's file and writes features to disk, until it has ended. The largest resident memory is the
process's, mapped pages counted; busy is the time of processors that it used.

Prints JSON, and a line a model with the aim where there is one. Standard library only.
"""

import argparse
import array
import json
import os
import random
import statistics
import struct
import subprocess
import sys
import tempfile
import time

# Width, depth, heads, patch, pixels a side of the position table and of the image, and seconds that are aimed at.
MODELS = {
    "nano8": (128, 6, 4, 8, 96, 96, 0.05),
    "tiny16": (192, 12, 3, 16, 224, 224, None),
    "small16": (384, 12, 6, 16, 224, 224, None),
    "base16": (768, 12, 12, 16, 224, 224, 0.3),
}


def tensors(width, depth, patch, table):
    """Name and extents of each tensor of a ViT as DINO has them."""
    yield "cls_token", (1, 1, width)
    yield "pos_embed", (1, 1 + (table // patch) ** 2, width)
    yield "patch_embed.proj.weight", (width, 3, patch, patch)
    yield "patch_embed.proj.bias", (width,)
    for i in range(depth):
        for name, shape in (("norm1.weight", (width,)), ("norm1.bias", (width,)), ("attn.qkv.weight", (3 * width, width)),
                            ("attn.qkv.bias", (3 * width,)), ("attn.proj.weight", (width, width)), ("attn.proj.bias", (width,)),
                            ("norm2.weight", (width,)), ("norm2.bias", (width,)), ("mlp.fc1.weight", (4 * width, width)),
                            ("mlp.fc1.bias", (4 * width,)), ("mlp.fc2.weight", (width, 4 * width)), ("mlp.fc2.bias", (width,))):
            yield f"blocks.{i}.{name}", shape
    yield "norm.weight", (width,)
    yield "norm.bias", (width,)


def product(shape):
    out = 1
    for extent in shape:
        out *= extent
    return out


def write_safetensors(path, named, metadata=None):
    """Tensors of drawn numbers: one block of them, over and over."""
    draw = random.Random(1)
    block = array.array("f", (draw.gauss(0, 0.02) for _ in range(1 << 16))).tobytes()
    header, at = ({"__metadata__": metadata} if metadata else {}), 0
    for name, shape in named:
        header[name] = {"dtype": "F32", "shape": list(shape), "data_offsets": [at, at + 4 * product(shape)]}
        at += 4 * product(shape)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for whole in range(0, at, len(block)):
            file.write(block[: at - whole])


def run(command, to_line):
    """Seconds from a process's start to its first line, or to its end; seconds of processors that it used, and its largest
    resident memory."""
    with tempfile.TemporaryFile("w+") as said:
        begin = time.perf_counter()
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=said)
        process.stdout.readline()
        seconds = time.perf_counter() - begin
        process.stdout.read()
        _, status, used = os.wait4(process.pid, 0)
        if not to_line:
            seconds = time.perf_counter() - begin
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != 0:
            said.seek(0)
            raise SystemExit(f"{' '.join(command)} ended with status {process.returncode}: {said.read()}")
    return seconds, used.ru_utime + used.ru_stime, 1024 * used.ru_maxrss


def measure(command, runs, to_line):
    run(command, to_line)  # what is read is in memory then
    measured = [run(command, to_line) for _ in range(runs)]
    seconds = [m[0] for m in measured]
    return {"seconds": {"median": statistics.median(seconds), "min": min(seconds), "max": max(seconds)},
            "busy": statistics.median(m[1] for m in measured), "peak": max(m[2] for m in measured)}


def main():
    parser = argparse.ArgumentParser(description="Measures the time to the first feature.")
    parser.add_argument("--build", required=True, help="folder with dssl-features of the benchmarks")
    parser.add_argument("--programs", help="folder with the program dssl-features: measured too")
    parser.add_argument("--arch", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--threads", type=int, default=0, help="0: all processors")
    parser.add_argument("--runs", type=int, default=15)
    parser.add_argument("--out")
    options = parser.parse_args()
    results = []
    for arch in options.arch:
        width, depth, heads, patch, table, size, aim = MODELS[arch]
        with tempfile.TemporaryDirectory() as folder:
            weights, images, pictures = (os.path.join(folder, name) for name in ("weights.safetensors", "images.safetensors", "pictures"))
            write_safetensors(weights, tensors(width, depth, patch, table), {"heads": str(heads)})
            write_safetensors(images, [("images", (1, 3, size, size))])
            os.mkdir(pictures)
            with open(os.path.join(pictures, "image.ppm"), "wb") as file:
                file.write(b"P6\n%d %d\n255\n" % (size, size) + random.Random(2).randbytes(3 * size * size))
            threads = ["--threads", str(options.threads), "--size", str(size), "--weights", weights]
            commands = {"benchmark": [os.path.join(options.build, "dssl-features"), *threads, "--images", images, "--once"]}
            if options.programs:
                commands["program"] = [os.path.join(options.programs, "dssl-features"), *threads, "--arch", "auto", "--data", pictures,
                                       "--out", os.path.join(folder, "features.npy")]
            for of, command in commands.items():
                load = os.getloadavg()[0]
                results.append({"arch": arch, "size": size, "of": of, "load_before": load, "aim": aim, "bytes": os.path.getsize(weights),
                                **measure(command, options.runs, of == "benchmark")})
                r = results[-1]
                reached = "" if aim is None else f"; aim {1e3 * aim:.0f} ms: {'reached' if r['seconds']['median'] <= aim else 'MISSED'}"
                print(f"{arch}, {of}: {1e3 * r['seconds']['median']:.0f} ms ({1e3 * r['seconds']['min']:.0f} to "
                      f"{1e3 * r['seconds']['max']:.0f}), busy {1e3 * r['busy']:.0f} ms, at most {r['peak'] / 1e6:.0f} MB{reached}",
                      file=sys.stderr, flush=True)
    text = json.dumps(results, indent=1)
    if options.out:
        with open(options.out, "w") as file:
            file.write(text + "\n")
    print(text)


if __name__ == "__main__":
    main()
