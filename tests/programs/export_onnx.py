"""Models that dssl-export writes, held to the features that dssl-features gives of the same files: by onnx's checker, in
onnxruntime and in OpenVINO; three sizes, two of them not square, and one more for several blocks side by side without the
last norm; batches of 1 and 3; models of any size and of each. Then linear heads, a bank's scores, and the votes of neighbours.

    export_onnx.py FOLDER_OF_PROGRAMS FOLDER_OF_CASES [NAME...]

Ends with 77 and a line, which a test runner takes for skipped, where these packages are not installed.
"""
import json
import os
import pathlib
import struct
import subprocess
import sys
import tempfile

try:
    import numpy as np
    import onnx
except ImportError as missing:
    print(f"skipped: no Python package {missing.name}")
    sys.exit(77)

RUNTIMES = []
try:
    import onnxruntime
    RUNTIMES.append("onnxruntime")
except ImportError:
    pass
try:
    import openvino
    RUNTIMES.append("openvino")
except ImportError:
    pass
if not RUNTIMES:
    print("skipped: no Python package onnxruntime nor openvino")
    sys.exit(77)

TOLERANCE = 2e-5  # of the largest magnitude of an output
programs, cases = pathlib.Path(sys.argv[1]).resolve(), pathlib.Path(os.environ.get("DSSL_INTEROP") or sys.argv[2]).resolve()


def outputs(runtime, path, names):
    """A function from images to the outputs of these names."""
    if runtime == "onnxruntime":
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        return lambda images: session.run(names, {"image": images})
    # Half precision is what OpenVINO takes by itself on some processors.
    model = openvino.Core().compile_model(str(path), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})

    def run(images):
        found = model([images])
        return [found[name] for name in names]

    return run


def runner(runtime, path):
    """A function from images to class tokens (B,D) and patch tokens (B,N,D)."""
    run = outputs(runtime, path, ["class_token", "patch_map"])

    def tokens(images):
        classes, maps = run(images)
        return classes, maps.reshape(*maps.shape[:2], -1).transpose(0, 2, 1)

    return tokens


def facts_of(case):
    """What the case's maker says of it, from the header of a safetensors file."""
    with open(case / "expect.safetensors", "rb") as file:
        header = json.loads(file.read(struct.unpack("<Q", file.read(8))[0]))
    return json.loads(header["__metadata__"]["dssl-interop"])


def call(*words):
    done = subprocess.run([str(w) for w in words], capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"FAILED: {' '.join(map(str, words))}: {done.stderr}")


def check(case, folder):
    """The largest difference of a case by runtime and model, and how many outputs were compared."""
    facts = facts_of(case)
    weights = next(f for f in case.iterdir() if f.suffix == ".pth" or f.name == "model.safetensors")
    options = ["--heads", facts["heads"]]
    if facts["family"].startswith("timm") and facts["position"]["kind"] == "table":
        options += ["--family", "timm"]
    patch = facts["patch"]
    side = facts["native_grid"][0] if facts.get("native_grid") else 5
    worst, compared = {}, 0
    random = np.random.default_rng(3)
    plain = ["--normalise", "--white", 255]
    any_size = folder / "any.onnx"
    call(programs / "dssl-export", weights, any_size, *options, *plain)
    onnx.checker.check_model(str(any_size), full_check=True)
    blocks = ["--no-norm"] + (["--blocks", "-1,0"] if facts["depth"] > 1 else [])
    for rows, columns, read in ((side, side, []), (side + 2, side - 1, []), (3, 2 * side + 1, []), (side, side + 3, blocks)):
        height, width = rows * patch, columns * patch
        if read:
            call(programs / "dssl-export", weights, any_size, *options, *plain, *read)
            onnx.checker.check_model(str(any_size), full_check=True)
        images = random.integers(0, 256, (3, height, width, 3), dtype=np.uint8)
        pictures = folder / f"{height}x{width}"
        pictures.mkdir()
        for i, image in enumerate(images):
            (pictures / f"{i}.ppm").write_bytes(b"P6\n%d %d\n255\n" % (width, height) + image.tobytes())
        call(programs / "dssl-features", "--data", pictures, "--tokens", "class,patch", "--size", f"{height}x{width}", "--arch",
             "auto", "--weights", weights, "--out", folder / "own.npy", *options, *read)
        own = [np.load(folder / f"own.{token}.npy") for token in ("class", "patch")]
        own[1] = own[1].reshape(3, rows * columns, -1)
        sized = folder / "sized.onnx"
        call(programs / "dssl-export", weights, sized, *options, *plain, *read, "--size", f"{height}x{width}", "--external-data")
        onnx.checker.check_model(str(sized), full_check=True)
        inputs = images.transpose(0, 3, 1, 2).astype(np.float32)
        for kind, path in (("any", any_size), ("sized", sized)):
            for runtime in RUNTIMES:
                tokens = runner(runtime, path)
                for batch in (1, 3):
                    for found, expected in zip(tokens(np.ascontiguousarray(inputs[:batch])), own):
                        expected = expected[:batch]
                        if found.shape != expected.shape:
                            sys.exit(f"FAILED: {case.name}: {runtime} gives {found.shape}, dssl {expected.shape}")
                        difference = float(np.abs(found - expected).max() / np.abs(expected).max())
                        if not difference < TOLERANCE:
                            sys.exit(f"FAILED: {case.name}, {kind} size {height} x {width}, batch {batch}: {runtime} differs "
                                     f"by {difference:.1e} of the largest magnitude; expected less than {TOLERANCE:.0e}")
                        worst[runtime, kind] = max(worst.get((runtime, kind), 0), difference)
                        compared += 1
    return worst, compared


def write_linear(path, prefix, weight, bias):
    """A linear layer as safetensors."""
    entries, at = {}, 0
    for name, values in (("weight", weight), ("bias", bias)):
        entries[prefix + name] = {"dtype": "F32", "shape": list(values.shape), "data_offsets": [at, at + values.nbytes]}
        at += values.nbytes
    header = json.dumps(entries).encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header + weight.tobytes() + bias.tobytes())


def check_heads(folder):
    """Linear heads against the products of features, and a bank's scores against dssl-defects: the largest differences."""
    weights, side, width = cases / "container_zip" / "weights.pth", 40, 16
    random = np.random.default_rng(5)
    images = random.integers(0, 256, (28, side, side, 3), dtype=np.uint8)
    for i, image in enumerate(images):
        of = folder / ("normal" if i < 25 else "new")
        of.mkdir(exist_ok=True)
        (of / f"{i:02}.ppm").write_bytes(b"P6\n%d %d\n255\n" % (side, side) + image.tobytes())
    call(programs / "dssl-defects", "--weights", weights, "--arch", "auto", "--heads", 2, "--size", side, "--normal", folder / "normal",
         "--hold-out", 0.4, "--false-alarms", 0.1, "--coreset", 0.5, "--test", folder / "new", "--out", folder / "bank")
    scores = [json.loads(line)["score"] for line in (folder / "bank" / "scores.jsonl").read_text().splitlines()]
    wide = random.normal(size=(3, 2 * width)).astype(np.float32), random.normal(size=3).astype(np.float32)
    narrow = random.normal(size=(5, width)).astype(np.float32), random.normal(size=5).astype(np.float32)
    write_linear(folder / "wide.safetensors", "", *wide)
    write_linear(folder / "narrow.safetensors", "module.linear.", *narrow)
    inputs = np.ascontiguousarray(images[25:].transpose(0, 3, 1, 2).astype(np.float32))
    worst, wanted = {}, ["class_token", "patch_map", "logits", "patch_logits", "patch_scores", "score"]
    for kind, size in (("any", "any"), ("sized", side)):
        path = folder / f"{kind}.onnx"
        call(programs / "dssl-export", weights, path, "--normalise", "--white", 255, "--size", size, "--head", folder / "wide.safetensors",
             "--patch-head", folder / "narrow.safetensors", "--bank", folder / "bank" / "bank.safetensors")
        onnx.checker.check_model(str(path), full_check=True)
        for runtime in RUNTIMES:
            run = outputs(runtime, path, wanted)
            for batch in (1, 3):
                classes, maps, logits, patch_logits, patch_scores, score = run(inputs[:batch])
                read = np.concatenate([classes, maps.mean(axis=(2, 3))], axis=1)
                expected = {"logits": read @ wide[0].T + wide[1],
                            "patch_logits": np.einsum("bdhw,cd->bchw", maps, narrow[0]) + narrow[1][:, None, None],
                            "score": np.array(scores[:batch])}
                for name, found in (("logits", logits), ("patch_logits", patch_logits), ("score", score)):
                    if found.shape != expected[name].shape:
                        sys.exit(f"FAILED: {name} of {runtime} is {found.shape}; expected {expected[name].shape}")
                    difference = float(np.abs(found - expected[name]).max() / np.abs(expected[name]).max())
                    if not difference < TOLERANCE:
                        sys.exit(f"FAILED: {name}, {kind} size, batch {batch}: {runtime} differs by {difference:.1e} of the largest magnitude")
                    worst[name] = max(worst.get(name, 0), difference)
                # The image's score is its largest patch score, weighed by a number below 1.
                if patch_scores.shape != (batch, 5, 5) or not (patch_scores.max(axis=(1, 2)) >= score).all():
                    sys.exit(f"FAILED: patch scores of {runtime} are {patch_scores.shape}, up to {patch_scores.max()}, with scores {score}")
    return worst


def read_tensors(path):
    """The tensors of a safetensors file, of floats and 64-bit integers."""
    bytes_of = path.read_bytes()
    length = struct.unpack("<Q", bytes_of[:8])[0]
    header, data, types = json.loads(bytes_of[8:8 + length]), bytes_of[8 + length:], {"F32": np.float32, "I64": np.int64}
    return {name: np.frombuffer(data[slice(*entry["data_offsets"])], types[entry["dtype"]]).reshape(entry["shape"])
            for name, entry in header.items() if name != "__metadata__"}


def check_knn(folder):
    """The classes that dssl-classify gives by neighbours, and their votes computed anew: the largest difference of these."""
    weights, side, kinds, k, temperature = cases / "container_zip" / "weights.pth", 40, 3, 5, 0.1
    random = np.random.default_rng(7)
    tint = random.integers(0, 100, (kinds, 1, 1, 3))
    images = {}
    for part, count in (("train", 8), ("test", 2)):
        for kind in range(kinds):
            of = folder / part / f"kind{kind}"
            of.mkdir(parents=True)
            for i in range(count):
                image = (random.integers(0, 156, (side, side, 3)) + tint[kind]).astype(np.uint8)
                (of / f"{i}.ppm").write_bytes(b"P6\n%d %d\n255\n" % (side, side) + image.tobytes())
                images[part, kind, i] = image
    queries = np.stack([images["test", kind, i] for kind in range(kinds) for i in range(2)])
    inputs, worst = np.ascontiguousarray(queries.transpose(0, 3, 1, 2).astype(np.float32)), 0
    for token in ("class", "mean", "both"):
        out = folder / token
        call(programs / "dssl-classify", "--weights", weights, "--arch", "auto", "--heads", 2, "--size", side, "--train", folder / "train",
             "--test", folder / "test", "--by", "knn", "--k", k, "--temperature", temperature, "--token", token, "--keep-neighbours", "--out", out)
        named = [int(line.split(",")[2].removeprefix("kind")) for line in (out / "predictions.csv").read_text().splitlines()[1:]]
        kept = read_tensors(out / "neighbours.safetensors")
        rows = kept["features"].astype(np.float64)
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        path = folder / f"{token}.onnx"
        call(programs / "dssl-export", weights, path, "--heads", 2, "--normalise", "--white", 255, "--knn", out / "neighbours.safetensors")
        onnx.checker.check_model(str(path), full_check=True)
        told = {entry.key: entry.value for entry in onnx.load(str(path)).metadata_props}
        if json.loads(told["votes_classes"]) != [f"kind{kind}" for kind in range(kinds)]:
            sys.exit(f"FAILED: the model calls its classes {told['votes_classes']}")
        for runtime in RUNTIMES:
            run = outputs(runtime, path, ["class_token", "patch_map", "votes"])
            for batch in (1, 3, 6):
                classes, maps, votes = run(inputs[:batch])
                read = {"class": [classes], "mean": [maps.mean(axis=(2, 3))], "both": [classes, maps.mean(axis=(2, 3))]}[token]
                x = np.concatenate(read, axis=1).astype(np.float64)
                cosines = x / np.linalg.norm(x, axis=1, keepdims=True) @ rows.T
                expected = np.zeros((batch, kinds))
                for b in range(batch):
                    nearest = np.argsort(-cosines[b], kind="stable")[:k]
                    np.add.at(expected[b], kept["labels"][nearest], np.exp(cosines[b, nearest] / temperature))
                expected /= expected.sum(axis=1, keepdims=True)
                if votes.shape != expected.shape or votes.argmax(axis=1).tolist() != named[:batch]:
                    sys.exit(f"FAILED: votes of {runtime}, token {token}, are {votes.tolist()}; dssl-classify names {named[:batch]}")
                worst = max(worst, float(np.abs(votes - expected).max()))
    if not worst < TOLERANCE:
        sys.exit(f"FAILED: votes differ by {worst:.1e}; expected less than {TOLERANCE:.0e}")
    if len(set(named)) < 2:
        sys.exit(f"FAILED: all images are named {named[0]}, which tells nothing")
    return worst


names = sys.argv[3:] or ["container_zip", "hf_dino", "dinov3_7b_like", "densedino_checkpoint", "dinov2_small", "dinov2_small_reg4",
                         "dinov2_giant_reg4", "dinov3_small", "dinov3_untied_norms", "timm_dino", "timm_deit3", "timm_dinov3_qkvb", "torchvision_vit",
                         "hf_dinov2", "hf_dinov3_gated"]
seen, total = 0, 0
for name in names:
    if not (cases / name / "expect.safetensors").exists():
        continue
    with tempfile.TemporaryDirectory() as folder:
        worst, compared = check(cases / name, pathlib.Path(folder))
    print(f"{name}: " + ", ".join(f"{runtime} {kind} {value:.1e}" for (runtime, kind), value in worst.items()), flush=True)
    seen, total = seen + 1, total + compared
if not sys.argv[3:]:
    with tempfile.TemporaryDirectory() as folder:
        print("heads and bank: " + ", ".join(f"{name} {value:.1e}" for name, value in check_heads(pathlib.Path(folder)).items()))
    with tempfile.TemporaryDirectory() as folder:
        print(f"votes of neighbours: {check_knn(pathlib.Path(folder)):.1e}")
least = len(names) if (cases / "cases.json").exists() else min(3, len(names))  # the whole set has its list
if seen < least:
    sys.exit(f"FAILED: {seen} cases in {cases}; expected at least {least}")
print(f"{seen} backbones, {total} outputs of {', '.join(RUNTIMES)}: those of dssl-features")
