#!/usr/bin/env python3
"""Runs dssl and a peer in turn, A B A B, and says how much faster one is than the other, pair by pair.

    run.py --build build/release/benchmarks --python PYTHON_WITH_TORCH --out pairs.json \
           [--task step|features] [--arch small16 ...] [--peer eager|compile|compile-max ...] [--precision f32|bf16]
    run.py --build build/cuda/benchmarks --python PYTHON_WITH_TORCH --out pairs.json --device cuda \
           [--arch tiny16 ...] [--peer eager|eager-masked|compile ...] [--precision f32|tf32|bf16] [--batch N]
    run.py --build build/release/benchmarks --python PYTHON_WITH_TIMM --out pairs.json --task timm \
           [--arch vit_base_patch16_224 ...] [--peer eager|compile] [--precision f32 bf16] [--size 224]
    run.py --build build/release/benchmarks --python PYTHON_WITH_FAISS --out pairs.json \
           --task search [--arch cosine distance coreset] [--peer faiss|faiss-numpy] [--features FILE] [--sizes=--rows=N ...]
    run.py --build build/release/benchmarks --python PYTHON_WITH_TORCHVISION --out pairs.json --threads 1 \
           --task view-sets [--arch boxes homographies boxes-plain homographies-plain]

Both begin from one file with the same weights and the same views. First they make steps that must give the same
losses and gradient norms; only then is time taken: warm-up in turn, then at least five pairs. The peer gets what
speeds it up: one thread a processor, a malloc that keeps its memory and uses huge pages.

How much of the processors somebody else used meanwhile is written beside the times; above 5 % the result is marked
as taken under load, and its times are not to be quoted: threads that wait for each other lose far more than their
share then. What still means something is the ratio of processor time with --threads 1, which is written too.

With --device cuda both use the same GPU, one after the other, so that each has all of its memory; a step is timed
until the device has done it. Peaks are the device's then: the plan of dssl, what PyTorch's allocator gave
out. A program that runs out of the device's memory ends this one with status 3.

Writes JSON, and a Markdown table to stdout. Standard library only.
"""

import argparse
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
PEER_MALLOC = ":".join((
    "glibc.malloc.hugetlb=1", "glibc.malloc.mmap_threshold=17179869184",
    "glibc.malloc.trim_threshold=17179869184", "glibc.malloc.top_pad=268435456",
))
VIEW_BOUND = 2e-2  # of means of a view's quarters, and 3: about 3 of 255 grey levels; homographies differ in anti-aliasing
QUIET = 0.05  # share of all processors that others may use
PEERS = {
    "eager": [],
    "eager-lean": ["--lean"],
    "eager-masked": ["--attention", "masked"],
    "compile": ["--compile"],
    "compile-lean": ["--compile", "--lean"],
    "compile-max": ["--compile", "max"],
    "pillow": [],
    "faiss": [],
    "faiss-numpy": ["--coreset-by", "numpy"],
}
DEFAULTS = {  # what is compared, and beside which peers
    "step": (["small16", "tiny16"], ["eager", "compile"]),
    "features": (["small16", "tiny16"], ["eager", "compile"]),
    "timm": (["vit_small_patch14_reg4_dinov2", "vit_base_patch16_224"], ["eager", "compile"]),
    "search": (["cosine", "distance", "coreset"], ["faiss"]),
    "view-sets": (["boxes", "homographies"], ["pillow"]),
}


class Ended(RuntimeError):
    """A program ended before it was told to."""


class OutOfMemory(Ended):
    """A program that ended for lack of the device's memory."""


class Contestant:
    """A program that answers a command a line."""

    def __init__(self, command, environment):
        self.command = command
        # What it says of an error is read when it has ended, and told then.
        self.errors = tempfile.TemporaryFile("w+")
        self.process = subprocess.Popen(command, env=environment, text=True, bufsize=1,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors)
        word, _, description = self.x_line().partition(" ")
        if word != "ready":
            raise RuntimeError(f"{command[0]} says {word!r}; expected 'ready'")
        self.description = json.loads(description)

    def x_line(self):
        line = self.process.stdout.readline()
        if not line:
            self.process.wait()
            self.errors.seek(0)
            said = self.errors.read()
            sys.stderr.write(said)
            if "out of memory" in said.lower():
                raise OutOfMemory(self.command[0])
            raise Ended(f"{' '.join(self.command)} ended with status {self.process.wait()}")
        return line.strip()

    def ask(self, command):
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()
        return [float(x) for x in self.x_line().split()]

    def busy(self):
        """Seconds of processor time used so far."""
        with open(f"/proc/{self.process.pid}/stat") as file:
            fields = file.read().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def end(self):
        self.process.stdin.close()
        self.process.wait()
        self.errors.seek(0)
        sys.stderr.write(self.errors.read())


def tree():
    """The commit of the tree that this file is of, and whether it was changed since."""
    def git(*words):
        return subprocess.run(["git", "-C", HERE, *words], capture_output=True, text=True, check=False).stdout.strip()

    return (git("rev-parse", "--short=8", "HEAD") or "unknown") + (" with changes" if git("status", "--porcelain", "-uno") else "")


def machine_busy():
    """Seconds that all processors were busy since the machine started, stolen time included."""
    with open("/proc/stat") as file:
        user, nice, system, _, _, irq, soft, steal = (int(x) for x in file.readline().split()[1:9])
    return (user + nice + system + irq + soft + steal) / os.sysconf("SC_CLK_TCK")


def timed_step(contestant):
    """Seconds of a step as the program tells them, and seconds of processor time that it used."""
    before = contestant.busy()
    seconds = contestant.ask("step")[0]
    return seconds, contestant.busy() - before


def same(ours, theirs, bounds):
    """Relative differences, and whether all lie within their bounds."""
    differences = [abs(a - b) / max(abs(b), 1e-30) for a, b in zip(ours, theirs)]
    return differences, all(d <= bound for d, bound in zip(differences, bounds))


def check_steps(options):
    return 3 if options.task == "step" else 1


def checked(options, arch, peer, ours, theirs):
    """What both gave beside their differences. Ends the program unless they compute the same."""
    # Rounding grows from step to step; bf16 keeps three digits.
    coarse = any(p in ("bf16", "tf32") for p in (options.precision, options.ours_precision))
    checks, agree = [], True
    for i, (a, b) in enumerate(zip(ours, theirs)):
        loss, norm = (2e-2, 1e-1) if coarse else (1e-5 * 10**i, 1e-3)
        bounds = {"step": [loss, loss, loss, norm], "view-sets": [VIEW_BOUND] * len(b)}.get(options.task, [10 * loss] * 3)
        differences, fits = same(a, b, bounds)
        fits = fits and len(a) == len(b)
        checks.append({"numbers": len(b), "largest_difference": max(differences)} if options.task == "view-sets" else
                      {"ours": a, "peer": b, "differences": differences})
        agree = agree and fits
    if not agree:
        print(json.dumps(checks, indent=1), file=sys.stderr)
        raise SystemExit(f"{arch}, {peer}: the two do not compute the same thing; no times are taken")
    return checks


def in_turn(options, arch, peer, ours, theirs):
    """What both programs give, and their steps in pairs, A B A B."""
    both = (ours, theirs)
    values = [[who.ask("check") for _ in range(check_steps(options))] for who in both]
    checks = checked(options, arch, peer, *values)
    for _ in range(options.warm_up):
        for who in both:
            who.ask("step")
    busy, used, begin = machine_busy(), ours.busy() + theirs.busy(), time.monotonic()
    steps = [[timed_step(who) for who in both] for _ in range(options.pairs)]
    elapsed = time.monotonic() - begin
    others = (machine_busy() - busy - (ours.busy() + theirs.busy() - used)) / elapsed / os.cpu_count()
    results = [{"description": who.description, "steps": list(own), "peak": who.ask("peak"), "others": others}
               for who, own in zip(both, zip(*steps))]
    for who in both:
        who.end()
    return *results, checks


def alone(program, options):
    """What one program gives while it runs alone."""
    checks = [program.ask("check") for _ in range(check_steps(options))]
    for _ in range(options.warm_up):
        program.ask("step")
    busy, used, begin = machine_busy(), program.busy(), time.monotonic()
    steps = [timed_step(program) for _ in range(options.pairs)]
    elapsed = time.monotonic() - begin
    out = {"description": program.description, "checks": checks, "steps": steps, "peak": program.ask("peak"),
           "others": (machine_busy() - busy - (program.busy() - used)) / elapsed / os.cpu_count()}
    program.end()
    return out


def compare(options, arch, peer):
    threads = options.threads or len(os.sched_getaffinity(0))
    on_gpu = options.device == "cuda"
    program = os.path.join(options.build, "dssl-cuda-step" if on_gpu else
                           "dssl-features" if options.task == "timm" else "dssl-" + options.task)
    sizes = ["--arch", arch]
    script = "densedino.py"
    told = ["--task", options.task, "--precision", options.precision, "--device", options.device]
    if options.task == "search":
        script, told = "faiss_search.py", ["--search", arch]
        sizes = ["--search", arch, *options.sizes, *(["--features", options.features] if options.features else [])]
    elif options.task == "view-sets":
        script, told, sizes = "pillow_views.py", [], ["--views", arch, *options.sizes]
    elif options.task == "timm":
        script = "timm_features.py"
        sizes = ["--size", str(options.size), "--batch", str(options.batch or 1)]
        told = ["--arch", arch, *sizes, "--precision", options.precision]
    elif options.task == "features":
        sizes += ["--size", str(options.size), "--batch", str(options.batch or 1)]
    elif options.batch:
        sizes += ["--batch", str(options.batch)]
    with tempfile.TemporaryDirectory() as folder:
        start = os.path.join(folder, "start.safetensors")
        begin = ["--start", start]
        if options.task == "timm":
            start = folder
            begin = [part for what in ("weights", "images") for part in (f"--{what}", os.path.join(folder, what + ".safetensors"))]
            subprocess.run([options.python, os.path.join(HERE, script), "--write-start", folder, *told], check=True)
        else:
            subprocess.run([program, *sizes, "--write-start", start], check=True)
        environment = dict(os.environ, OMP_NUM_THREADS=str(threads), GLIBC_TUNABLES=PEER_MALLOC)
        ours_told = [*begin, *([] if on_gpu else ["--threads", str(threads)]), "--precision", options.ours_precision or options.precision]
        if options.task == "view-sets":  # of one thread and one format, and it makes the image itself
            ours_told = []
        environment.update(item.split("=", 1) for item in options.peer_env)

        def start_ours():
            return Contestant([program, *sizes, "--serve", *ours_told], dict(os.environ))

        def start_theirs():
            return Contestant([options.python, os.path.join(HERE, script), "--serve", start, "--threads", str(threads),
                               *told, *PEERS[peer]], environment)

        if on_gpu:
            ours, theirs = (alone(make(), options) for make in (start_ours, start_theirs))
            checks = checked(options, arch, peer, ours["checks"], theirs["checks"])
        else:
            ours, theirs, checks = in_turn(options, arch, peer, start_ours(), start_theirs())
    others = max(ours["others"], theirs["others"])
    memory = {"ours": ours["peak"], "peer": theirs["peak"]}
    pairs = list(zip(*([s for s, _ in who["steps"]] for who in (ours, theirs))))
    processor = list(zip(*([p for _, p in who["steps"]] for who in (ours, theirs))))

    def seconds(values):
        return {"median": statistics.median(values), "min": min(values), "max": max(values), "all": list(values)}

    return {
        "task": options.task, "device": options.device, "arch": arch, "peer": peer, "threads": threads,
        "workload": {**ours["description"]["workload"], **({"features": True} if options.features else {})},
        "flop": ours["description"]["flop"],
        "precision": {"ours": options.ours_precision or options.precision, "peer": options.precision},
        "ours": {**ours["description"], "seconds": seconds([a for a, _ in pairs])},
        "peer_run": {**theirs["description"], "seconds": seconds([b for _, b in pairs])},
        "ratio": seconds([b / a for a, b in pairs]),
        "processor_seconds": {
            "ours": seconds([a for a, _ in processor]), "peer": seconds([b for _, b in processor]),
            "ratio": seconds([b / max(a, 0.01) for a, b in processor]),  # the kernel counts hundredths
        },
        "peak": {who: {"peak": int(peak), "at_start": int(start)} for who, (peak, start) in memory.items()},
        "checks": checks, "warm_up": options.warm_up,
        "others_load": max(0.0, others), "under_load": others > QUIET,
        "when": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()), "commit": tree(),
    }


def table(results):
    lines = [
        "| task | sizes | threads | precision | peer | dssl s | peer s | ratio (min to max) | of processor time | "
        "peak MB (before the model) dssl / peer | others' load |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for r in results:
        sizes = r["arch"] + ", " + ", ".join(f"{k} {v}" for k, v in r["workload"].items()
                                          if k in ("batch", "size", "rows", "width", "queries", "neighbours", "images"))
        ratio = r["ratio"]
        peak = " / ".join("{:.0f} ({:.0f})".format(*(r["peak"][who][k] / 1e6 for k in ("peak", "at_start")))
                          for who in ("ours", "peer"))
        precision = " / ".join(dict.fromkeys((r["precision"]["ours"], r["precision"]["peer"])))
        lines.append(
            f"| {r['task']} | {sizes} | {r['threads']} | {precision} | {r['peer_run']['library']}, {r['peer']} | "
            f"{r['ours']['seconds']['median']:.3g} | {r['peer_run']['seconds']['median']:.3g} | "
            f"**{ratio['median']:.2f}** ({ratio['min']:.2f} to {ratio['max']:.2f}) | "
            f"{r['processor_seconds']['ratio']['median']:.2f} | {peak} | "
            f"{r['others_load']:.0%}{': under load' if r['under_load'] else ''} |")
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description="Runs dssl and a peer in turn.")
    parser.add_argument("--build", required=True, help="folder with dssl-step, dssl-features, dssl-search and dssl-view-sets")
    parser.add_argument("--python", default=sys.executable, help="interpreter that has PyTorch, torchvision, timm, or faiss")
    parser.add_argument("--task", choices=DEFAULTS, default="step")
    parser.add_argument("--arch", nargs="+", help="architectures, or searches")
    parser.add_argument("--peer", nargs="+", choices=sorted(PEERS))
    parser.add_argument("--features", help="search: patch features that dssl-features wrote as safetensors")
    parser.add_argument("--sizes", action="append", default=[], metavar="ARGUMENT",
                        help="search, view-sets: a size as the program takes it, as in --sizes=--rows=50000; may be repeated")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="cuda: with --task step alone")
    parser.add_argument("--precision", nargs="+", choices=("f32", "tf32", "bf16"), default=["f32"],
                        help="one after another; tf32: with --device cuda")
    parser.add_argument("--ours-precision", help="where it differs from the peer's")
    parser.add_argument("--threads", type=int, default=0, help="0: all processors")
    parser.add_argument("--pairs", type=int, default=7)
    parser.add_argument("--warm-up", type=int, default=3)
    parser.add_argument("--size", type=int, default=448, help="features, timm: pixels a side")
    parser.add_argument("--batch", type=int, default=0, help="images at a time; 0: the workload's own, 1 for features and timm")
    parser.add_argument("--peer-env", nargs="*", default=[], metavar="NAME=VALUE", help="for the peer's process")
    parser.add_argument("--out", required=True, help="JSON file; results are added to those in it")
    options = parser.parse_args()
    if options.pairs < 5:
        parser.error("--pairs: at least 5")
    if options.task == "view-sets" and options.threads != 1:
        parser.error("--task view-sets: with --threads 1 alone")
    if options.device == "cuda" and options.task != "step":
        parser.error("--device cuda: with --task step alone")
    arches, peers = DEFAULTS[options.task]
    results = []
    for arch, precision in itertools.product(options.arch or arches, options.precision):
        one = argparse.Namespace(**{**vars(options), "precision": precision})
        for peer in options.peer or peers:
            try:
                results.append(compare(one, arch, peer))
            except OutOfMemory as error:
                print(f"{arch}, {peer}: {error} ran out of the device's memory", file=sys.stderr)
                raise SystemExit(3) from error
            known = []
            if os.path.exists(options.out):
                with open(options.out) as file:
                    known = json.load(file)
            with open(options.out, "w") as file:
                json.dump([*known, results[-1]], file, indent=1)
            print(table(results[-1:]).splitlines()[-1], file=sys.stderr, flush=True)
    print(table(results))


if __name__ == "__main__":
    main()
