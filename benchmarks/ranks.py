#!/usr/bin/env python3
"""What sharing a run over ranks costs: simulated from a step that was measured on one rank, and measured here.

    ranks.py simulate --out FOLDER [--docs docs] [--step FILE | --results FILE --arch small16 --precision bf16] [--seconds S]
    ranks.py measure --out FOLDER --programs build/release/examples [--cuts 1x2 2x1] [--rounds 5]

simulate takes the times of a step's parts as `dssl-step --parts` tells them (by default those recorded in
benchmarks/results/results.json), what a recipe exchanges (the table of docs/processes.md), and networks by their latency
and bandwidth, which are stated, not measured. Every rank has the images of the measured step, so more ranks have a larger
batch; the efficiency is the seconds of a step on one rank over those on n. Writes ranks.json, ranks.md and ranks.svg to
--out, the picture with --docs to the documentation, whose tables in processes.md are written anew.

measure runs dssl-pretrain cut in several ways, in turn, round by round; losses must agree. Nothing else may run meanwhile.

A message of b bytes takes a + b / W: a the latency, W the bandwidth (Hockney, "The communication challenge for MPP", Parallel
Computing 20, 1994). With n ranks, M bytes that are summed, b bytes of each rank that are gathered, and h the seconds that
the host's memory takes for each summed byte, beside what the network does:

    direct  sum     2 p (n - 1) a + 2 (n - 1) / n M / W + h M, p = ceil(M / min(n, 32) MiB) pieces; up to 4 KiB: a
                    gather
            gather  (n - 1) (a + b / W)
    ring    sum     2 (n - 1) (a + M / (n W)) + h M
            gather  (n - 1) (a + b / W)
    tree    sum     2 ceil(log2 n) (a + M / W) + h M
            gather  ceil(log2 n) a + (n - 1) b / W

direct is dssl::Communicator's way: each rank adds a share, which all send it and which it sends to all, one message after
the other. ring: Patarasuk and Yuan, "Bandwidth optimal all-reduce algorithms for clusters of workstations", Journal of
Parallel and Distributed Computing 69, 2009. tree: a binomial tree to one rank and back, and Bruck's gather, as in Thakur,
Rabenseifner and Gropp, "Optimization of collective communication operations in MPICH", International Journal of High
Performance Computing Applications 19, 2005. best: the quicker of ring and tree for each exchange.

With overlap a bucket of gradients is sent when the backward pass, which begins with the heads and the last block, has all
of it; a bucket is of whole blocks (all heads are one), and closed when it has so many bytes. Of several sizes the best is
taken. The update, whose clipping needs all gradients, waits for the last. Standard library only.
"""

import argparse
import collections
import html
import json
import math
import os
import resource
import shutil
import statistics
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "peers"))
from report import NAMES, number, read, spread, table, write  # noqa: E402
from run import QUIET, machine_busy  # noqa: E402

MIB = 1 << 20
MOST_RANKS_OF_A_MIB = 32  # of whom each gets a MiB at a time: dssl::Communicator::exchange_bytes
FEW_BYTES = 4096  # of a sum that every rank adds by itself: dssl::Communicator::few_bytes
# Bytes of the host's memory that are read or written for each byte of a sum. direct: counted in dssl::Communicator and
# dssl::MpiRanks, which copy five times and read once. Else: what is here and what comes is read, the sum is written.
MEMORY_BYTES = {"direct": 11, "ring": 3, "tree": 3}

Network = collections.namedtuple("Network", "name latency bandwidth")  # seconds a message, bytes a second of a rank
NETWORKS = [Network("1 Gbit Ethernet", 50e-6, 0.125e9), Network("10 Gbit Ethernet", 20e-6, 1.25e9),
            Network("100 Gbit InfiniBand", 2e-6, 12.5e9), Network("NVLink-like", 5e-6, 450e9)]
RANKS = [2**i for i in range(11)]
BUCKETS = [1, 4, 16, 64, math.inf]  # MiB


class Problem(Exception):
    """Bad input, in one line."""


# --- What is sent ------------------------------------------------------------------------------------------------


class Cost:
    """Seconds and bytes of an exchange over `ranks` by one of the ways of this file's first lines."""

    def __init__(self, network, ranks, way="direct", memory=math.inf):
        self.network, self.ranks, self.way = network, ranks, way
        self.memory = memory  # bytes a second of the host's memory

    def sum(self, size):
        n, a, w = self.ranks, self.network.latency, self.network.bandwidth
        if n == 1 or size == 0:
            return 0.0
        if self.way == "best":
            return min(Cost(self.network, n, way, self.memory).sum(size) for way in ("ring", "tree"))
        handled = MEMORY_BYTES[self.way] * size / self.memory
        if self.way == "direct":
            if size <= FEW_BYTES:
                return self.gather(size)
            return 2 * pieces(size, n) * (n - 1) * a + 2 * (n - 1) / n * size / w + handled
        if self.way == "ring":
            return 2 * (n - 1) * (a + size / (n * w)) + handled
        return 2 * math.ceil(math.log2(n)) * (a + size / w) + handled

    def gather(self, size):
        n, a, w = self.ranks, self.network.latency, self.network.bandwidth
        if self.way in ("tree", "best"):  # of these two a tree's gather is never the slower one
            return math.ceil(math.log2(n)) * a + (n - 1) * size / w
        return (n - 1) * (a + size / w)

    def of(self, exchange):
        return exchange.times * (self.sum(exchange.size) if exchange.kind == "sum" else self.gather(exchange.size))


def pieces(size, ranks):
    """Pieces in which dssl::Communicator adds so many bytes."""
    return math.ceil(size / (min(ranks, MOST_RANKS_OF_A_MIB) * MIB))


# `times` sums or gathers of `size` bytes of each rank; `when`: in every pass, or in the update.
Exchange = collections.namedtuple("Exchange", "name kind size times when")

# Terms of a recipe by what they exchange: centres that are a mean, those by Sinkhorn's rounds, and the rest.
RECIPES = {
    "densedino": {"centres": 2, "terms": 2}, "dino": {"centres": 1, "terms": 1},
    "ibot": {"centres": 2, "masked_numbers": 1, "terms": 2}, "dinov2": {"sinkhorn": 2, "terms": 3},
    **dict.fromkeys(("simclr", "barlow-twins", "vicreg", "simsiam"), {"class_tokens": 1, "terms": 1}),
    "densesimclr": {"class_tokens": 1, "points": 1, "terms": 2},
    **dict.fromkeys(("byol", "moco-v2", "moco-v3"), {"class_tokens": 2, "terms": 1}),
    "densecl": {"class_tokens": 2, "dense_keys": 1, "terms": 2}, "swav": {"all_tokens": 1, "terms": 1},
    "pixpro": {"norms": 2, "terms": 1},  # of each view
}
ROUNDS = 3       # Sinkhorn's, as published
DENSE_KEY = 128  # numbers of a key of DenseCL's dense queue, as published
NORMED = 4096    # columns of the batch norm of PixPro's projector, as published


def exchanges_of(recipe, *, prototypes, width, batch, views, points=8, number_bytes=4, norms=()):
    """Every exchange of a step but that of gradients, as docs/processes.md has them. Tests: tests/benchmarks/ranks.py.

    `norms`: columns of each batch norm that sees the rows of all ranks, beside the recipe's own."""
    has = collections.Counter(RECIPES[recipe])
    norms = [NORMED] * has["norms"] + list(norms)
    out = [
        Exchange("loaded", "gather", 256, 1, "pass"), Exchange("counted", "gather", 24, 1, "pass"),
        Exchange("Sinkhorn's centre", "sum", number_bytes * prototypes, ROUNDS * has["sinkhorn"], "pass"),
        Exchange("class tokens", "gather", 2 * number_bytes * batch * width, has["class_tokens"], "pass"),
        Exchange("features of points", "gather", 2 * number_bytes * points * batch * width, has["points"], "pass"),
        Exchange("class tokens of all views", "gather", number_bytes * views * batch * width, has["all_tokens"], "pass"),
        # Of the teacher's rows and the student's, with their number, and on the way back.
        *(Exchange("sums of batch norms", "sum", 16 * columns + 8, 2, "pass") for columns in norms),
        *(Exchange("sums of batch norms, back", "sum", 16 * columns, 1, "pass") for columns in norms),
        Exchange("number of masked patches", "gather", 8, has["masked_numbers"], "pass"),
        Exchange("passed", "gather", 256, 1, "pass"),
        Exchange("loss terms", "gather", 32 * has["terms"], 1, "update"),
        Exchange("centre", "sum", number_bytes * prototypes, has["centres"], "update"),
        Exchange("dense keys", "gather", number_bytes * batch * DENSE_KEY, has["dense_keys"], "update"),
        Exchange("feature spread", "sum", 8 * width, 2, "update"),
        Exchange("stop", "gather", 1, 1, "update"),
    ]
    return [e for e in out if e.times]


def traffic(exchanges, gradient_bytes, ranks, accumulate=1):
    """(messages to each other rank, bytes that a rank sends to all) of a step by dssl::Communicator."""
    messages, sent = 0, 0.0
    gradients = Exchange("gradients", "sum", gradient_bytes, 1, "update")
    for e in [*exchanges, gradients]:
        times = e.times * (accumulate if e.when == "pass" else 1)
        if e.kind == "sum" and e.size > FEW_BYTES:
            messages += 2 * times * pieces(e.size, ranks)
            sent += 2 * times * e.size * (ranks - 1) / ranks
        else:
            messages += times
            sent += times * e.size * (ranks - 1)
    return messages, sent


# --- The measured step -------------------------------------------------------------------------------------------


# Stages of the backward pass in its order, each with its seconds and parameters; and what comes before and after it.
Step = collections.namedtuple("Step", "forward stages update")
Stage = collections.namedtuple("Stage", "name seconds parameters")

Sizes = collections.namedtuple("Sizes", "image patch channels width depth hidden bottleneck")
ARCHS = {"small16": Sizes(224, 16, 3, 384, 12, 2048, 256), "tiny16": Sizes(224, 16, 3, 192, 12, 2048, 256),
         "nano8": Sizes(96, 8, 3, 128, 6, 512, 128)}
HEADS = 2  # of DenseDINO, whose step is measured: an image-level and a point-level one


def whole(step):
    return step.forward + sum(stage.seconds for stage in step.stages) + step.update


def parameters_of(sizes, prototypes):
    """Of all heads, of a block, and of what comes before the first block, with the norm after the last."""
    d, h, b = sizes.width, sizes.hidden, sizes.bottleneck
    head = (d * h + h) + (h * h + h) + (h * b + b) + prototypes * (b + 1)
    block = 12 * d * d + 13 * d
    patches = (sizes.image // sizes.patch) ** 2
    return HEADS * head, block, d * sizes.channels * sizes.patch**2 + d + (patches + 2) * d + 2 * d


def step_of(record):
    """A Step of what `dssl-step --parts` wrote, its parts scaled to the median of its steps.

    Backward: primitives named so, those of layers that heads alone have in the heads' stage, the rest in equal parts in the
    blocks; parameters before the first block come with the first block, the last of the pass. The loss over prototypes,
    which makes its gradients in the same sweep, and all else are before it. Update: norms, optimiser and teacher."""
    try:
        work, parts = record["workload"], record["parts"]
        arch, total, seconds = work["arch"], record["parameters"], record["seconds"]["median"]
        timed = [(part["name"], part["shape"], part["seconds"]) for part in parts]
        outside = record["outside_parts"]
    except (KeyError, TypeError) as error:
        raise Problem(f"the step has no {error}; expected JSON of dssl-step --parts") from None
    if arch not in ARCHS:
        raise Problem(f"the step's arch is '{arch}'; expected one of {', '.join(ARCHS)}")
    sizes = ARCHS[arch]
    in_heads, in_block, outside_blocks = parameters_of(sizes, work["prototypes"])
    if in_heads + sizes.depth * in_block + outside_blocks != total:
        raise Problem(f"the step of {arch} has {total} parameters; expected "
                      f"{in_heads + sizes.depth * in_block + outside_blocks}, those of DenseDINO's")
    d = sizes.width
    of_blocks = {str(size) for size in (d, 3 * d, 4 * d, sizes.channels * sizes.patch**2)}  # and of the patch embedding

    def of_head(shape):
        return any(size not in of_blocks for size in shape.split(" to ")) if shape else False

    seconds_of = {"forward": outside, "heads": 0.0, "blocks": 0.0, "update": 0.0}
    for name, shape, s in timed:
        if name in ("adamw_step", "sgd_step", "lars_step", "squared_norms", "lerp"):
            seconds_of["update"] += s
        elif "backward" not in name:
            seconds_of["forward"] += s
        else:
            seconds_of["heads" if of_head(shape) else "blocks"] += s
    scale = seconds / sum(seconds_of.values())
    stages = [Stage("heads", scale * seconds_of["heads"], in_heads)]
    for block in range(sizes.depth - 1, -1, -1):
        stages.append(Stage(f"block {block}", scale * seconds_of["blocks"] / sizes.depth,
                            in_block + (outside_blocks if block == 0 else 0)))
    return Step(scale * seconds_of["forward"], stages, scale * seconds_of["update"])


def scaled(step, seconds):
    """The step on a rank that takes so many seconds for it."""
    by = seconds / whole(step)
    return Step(by * step.forward, [s._replace(seconds=by * s.seconds) for s in step.stages], by * step.update)


# --- A step over ranks -------------------------------------------------------------------------------------------


class Events:
    """Work of two that each do one thing at a time, in the order given: the processor, and the network."""

    def __init__(self):
        self.free = {"processor": 0.0, "network": 0.0}
        self.list = []  # (who, what, begin, end)

    def add(self, who, what, seconds, after=0.0):
        """Begins when who is free and `after` has come. Returns its end."""
        begin = max(self.free[who], after)
        self.free[who] = begin + seconds
        self.list.append((who, what, begin, begin + seconds))
        return begin + seconds

    def busy(self, who):
        return sum(end - begin for by, _, begin, end in self.list if by == who)


def buckets_of(stages, least):
    """[(index of the last stage, parameters)]: whole stages in the order of the pass, at least so many parameters each."""
    out, filled = [], 0
    for i, stage in enumerate(stages):
        filled += stage.parameters
        if filled and (filled >= least or i + 1 == len(stages)):
            out.append((i, filled))
            filled = 0
    return out


def simulate(step, exchanges, cost, *, bucket=None, gradient_bytes=4, accumulate=1):
    """Events of an update of `accumulate` passes on each of cost.ranks ranks, which all go alike.

    `bucket`: bytes from which a bucket is sent during the last backward pass; None: all are sent after it, nothing
    meanwhile. Exchanges of a pass lie between forward and backward, and the processor waits for them.

    Without overlap, the end is accumulate (forward + backward + pass exchanges) + gradients + update exchanges + update.
    """
    events = Events()
    now = 0.0

    def exchange(when, now):
        for e in exchanges:
            if e.when == when:
                now = events.add("network", e.name, cost.of(e), now)
        return now

    for number_of_pass in range(accumulate):
        now = events.add("processor", "forward", step.forward, now)
        now = exchange("pass", now)
        last = number_of_pass + 1 == accumulate
        ready = dict(buckets_of(step.stages, bucket / gradient_bytes)) if last and bucket is not None else {}
        for i, stage in enumerate(step.stages):
            now = events.add("processor", stage.name, stage.seconds, now)
            if i in ready:
                events.add("network", f"gradients to {stage.name}", cost.sum(gradient_bytes * ready[i]), now)
    if bucket is None:
        parameters = sum(stage.parameters for stage in step.stages)
        events.add("network", "gradients", cost.sum(gradient_bytes * parameters), now)
    now = exchange("update", max(now, events.free["network"]))
    events.add("processor", "update", step.update, now)
    return events


def seconds_of_step(step, exchanges, cost, sizes, **options):
    """Seconds of a step over ranks, and the bytes of a bucket that are best of `sizes`; None: no overlap."""
    tried = [(simulate(step, exchanges, cost, bucket=size, **options).free["processor"], size) for size in sizes]
    return min(tried, key=lambda one: one[0])


# What each row of a table adds to the one before it: way, whether gradients are sent meanwhile, their bytes.
VARIANTS = [("after the pass", "direct", False, 4), ("overlapped", "direct", True, 4), ("and in bf16", "direct", True, 2),
            ("and by ring or tree", "best", True, 2)]


def study_of(name, step, exchanges, *, networks, ranks, buckets, memory, accumulate):
    """Everything simulated of one step, as it is written."""
    gradients = 4 * sum(stage.parameters for stage in step.stages)
    alone = simulate(step, [], Cost(networks[0], 1), accumulate=accumulate).free["processor"]
    rows = []
    for network in networks:
        for variant, way, overlaps, gradient_bytes in VARIANTS:
            row = {"network": network.name, "variant": variant, "seconds": [], "efficiency": [], "bucket_mib": []}
            for n in ranks:
                # One rank exchanges nothing, and its parts follow each other.
                sizes = [mib * MIB for mib in buckets] if overlaps and n > 1 else [None]
                seconds, bucket = seconds_of_step(step, exchanges if n > 1 else [], Cost(network, n, way, memory), sizes,
                                                  gradient_bytes=gradient_bytes, accumulate=accumulate)
                row["seconds"].append(seconds)
                row["efficiency"].append(alone / seconds)
                row["bucket_mib"].append(None if bucket is None else "all" if math.isinf(bucket) else bucket / MIB)
            rows.append(row)
    return {"name": name, "seconds": alone, "forward": step.forward, "update": step.update,
            "stages": [stage._asdict() for stage in step.stages], "exchanges": [e._asdict() for e in exchanges],
            "memory_bytes_per_second": None if math.isinf(memory) else memory, "accumulate": accumulate,
            "megabytes_sent": [traffic(exchanges, gradients, n, accumulate)[1] / 1e6 for n in ranks],
            "ranks": ranks, "buckets_mib": ["all" if math.isinf(b) else b for b in buckets],
            "networks": [network._asdict() for network in networks], "rows": rows}


def again(study):
    """The same study from what was written of it."""
    step = Step(study["forward"], [Stage(**stage) for stage in study["stages"]], study["update"])
    return study_of(study["name"], step, [Exchange(**e) for e in study["exchanges"]],
                    networks=[Network(**network) for network in study["networks"]], ranks=study["ranks"],
                    buckets=[math.inf if b == "all" else b for b in study["buckets_mib"]],
                    memory=study["memory_bytes_per_second"] or math.inf, accumulate=study["accumulate"])


# --- Text and picture --------------------------------------------------------------------------------------------


def tables(studies):
    blocks = []
    for study in studies:
        parameters = sum(stage["parameters"] for stage in study["stages"])
        backward = sum(stage["seconds"] for stage in study["stages"])
        memory = study["memory_bytes_per_second"]
        memory = f"{number(memory / 1e9)} GB/s" if memory else "bytes in no time"
        blocks.append(f"{study['name']}: {number(study['seconds'])} s a step on one rank, of them {number(backward)} s backward "
                      f"and {number(study['update'])} s for the update; {parameters / 1e6:.1f} million parameters. "
                      f"By default each of {study['ranks'][-1]} ranks sends {number(study['megabytes_sent'][-1])} MB a step, "
                      f"and its memory moves {memory}.")
        rows = [(row["network"], row["variant"], *(f"{100 * share:.0f}" for share in row["efficiency"][1:]))
                for row in study["rows"]]
        blocks.append(table(("network", "efficiency in %, of ranks:", *(str(n) for n in study["ranks"][1:])), rows))
    return "\n\n".join(blocks)


COLOURS = ["#c0392b", "#e08e0b", "#1f6f8b", "#2e8b57"]


def picture(studies):
    """Efficiency by ranks: a row of panels a study, a panel a network, a line a variant."""
    wide, gap, high, left, top = 214, 30, 150, 52, 54
    columns = max(len(study["networks"]) for study in studies)
    width, row_height = left + columns * (wide + gap), high + 84
    height = top + len(studies) * row_height + 8
    out = [f"<svg xmlns='http://www.w3.org/2000/svg' width='{width}' height='{height}' viewBox='0 0 {width} {height}' "
           "font-family='sans-serif' font-size='12'>", f"<rect width='{width}' height='{height}' fill='#ffffff'/>",
           "<text x='12' y='22' font-size='15' fill='#222222'>A step over ranks, simulated: efficiency by number of ranks</text>"]
    for i, (name, *_) in enumerate(VARIANTS):
        x = left + i * 180
        out.append(f"<line x1='{x}' y1='38' x2='{x + 24}' y2='38' stroke='{COLOURS[i]}' stroke-width='2.5'/>")
        out.append(f"<text x='{x + 30}' y='42' fill='#222222'>{html.escape(name)}</text>")
    for s, study in enumerate(studies):
        y0 = top + s * row_height + 34
        out.append(f"<text x='12' y='{y0 - 20}' font-size='13' fill='#222222'>{html.escape(study['name'])}, "
                   f"{number(study['seconds'])} s on one rank</text>")
        last = max(1.0, math.log2(study["ranks"][-1]))
        for c, network in enumerate(study["networks"]):
            x0 = left + c * (wide + gap)
            out.append(f"<text x='{x0}' y='{y0 - 4}' fill='#666666'>{html.escape(network['name'])}</text>")
            for share in (0, 0.25, 0.5, 0.75, 1):
                y = y0 + high * (1 - share)
                out.append(f"<line x1='{x0}' y1='{y:.1f}' x2='{x0 + wide}' y2='{y:.1f}' stroke='#dddddd'/>")
                if c == 0:
                    out.append(f"<text x='{x0 - 6}' y='{y + 4:.1f}' text-anchor='end' fill='#666666'>{share:.0%}</text>")
            for n in study["ranks"][::2]:
                x = x0 + wide * math.log2(n) / last
                out.append(f"<text x='{x:.1f}' y='{y0 + high + 16}' text-anchor='middle' fill='#666666'>{n}</text>")
            out.append(f"<text x='{x0 + wide / 2}' y='{y0 + high + 32}' text-anchor='middle' fill='#666666'>ranks</text>")
            lines = [row for row in study["rows"] if row["network"] == network["name"]]
            for i, row in enumerate(lines):
                points = " ".join(f"{x0 + wide * math.log2(n) / last:.1f},{y0 + high * (1 - share):.1f}"
                                  for n, share in zip(study["ranks"], row["efficiency"]))
                out.append(f"<polyline points='{points}' fill='none' stroke='{COLOURS[i]}' stroke-width='2'/>")
    return "\n".join([*out, "</svg>"]) + "\n"


BEGIN, END = "<!-- by benchmarks/ranks.py simulate -->", "<!-- end -->"


def between(page, path):
    """Where the tables lie in a page: (begin, end)."""
    begin, end = page.find(BEGIN), page.find(END)
    if begin < 0 or end < begin:
        raise Problem(f"{path}: no '{BEGIN}' followed by '{END}'")
    return begin + len(BEGIN), end


# --- Measured here -----------------------------------------------------------------------------------------------


def cut_of(text):
    ranks, _, threads = text.partition("x")
    if not (ranks.isdigit() and threads.isdigit() and int(ranks) and int(threads)):
        raise Problem(f"--cuts: '{text}'; expected RANKSxTHREADS, as 2x1")
    return int(ranks), int(threads)


def launcher(mpirun, ranks):
    """What starts so many ranks here, not bound to a processor each."""
    if ranks == 1:
        return []
    said = subprocess.run([mpirun, "--version"], check=True, stdout=subprocess.PIPE, text=True).stdout
    open_mpi = any(word in said for word in ("Open MPI", "OpenRTE", "PRRTE", "prte"))
    return [mpirun, *(["--oversubscribe", "--bind-to", "none"] if open_mpi else []), "-n", str(ranks)]


def run_cut(options, cut):
    """Seconds and losses of a run's steps after the warm-up, and the share of the machine that others had."""
    ranks, threads = cut
    out = os.path.join(options.out, f"run-{ranks}x{threads}")
    command = [*launcher(options.mpirun, ranks), os.path.join(options.programs, "dssl-pretrain"), "--data", options.data,
               "--synthetic-count", str(4 * options.batch), "--arch", options.arch, "--batch", str(options.batch),
               "--threads", str(threads), "--epochs", str(options.warm_up + options.steps),
               "--max-steps", str(options.warm_up + options.steps), "--overwrite", "--out", out, *options.more]
    environment = {**os.environ, "OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}

    def used():
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        return usage.ru_utime + usage.ru_stime

    began, busy, own = time.monotonic(), machine_busy(), used()
    done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=environment)
    if done.returncode != 0:
        raise Problem(f"status {done.returncode} of {' '.join(command)}: {(done.stderr.strip().splitlines() or ['no word'])[-1]}")
    others = (machine_busy() - busy - (used() - own)) / (time.monotonic() - began) / os.cpu_count()
    with open(os.path.join(out, "metrics.jsonl")) as file:
        steps = [json.loads(line) for line in file]
    if len(steps) != options.warm_up + options.steps:
        raise Problem(f"{out}/metrics.jsonl has {len(steps)} steps; expected {options.warm_up + options.steps}")
    shutil.rmtree(out)
    timed = steps[options.warm_up:]
    return {"seconds": [s["seconds"] for s in timed], "data_wait_seconds": [s["data_wait_seconds"] for s in timed],
            "losses": [s["loss"] for s in steps], "others_load": max(0.0, others)}


def require_same(what, losses, expected, largest):
    off = max(abs(a - b) / abs(b) for a, b in zip(losses, expected))
    if not off <= largest:
        raise Problem(f"losses of {what} are off by {off:.1e}; expected those of the first cut, within {largest}")


def summary(values):
    return {"median": statistics.median(values), "min": min(values), "max": max(values), "all": values}


def measure(options):
    """The same run cut in several ways, in turn, round by round; the first is what the others are compared with."""
    cuts = [cut_of(text) for text in options.cuts]
    for ranks, _ in cuts:
        if options.batch % ranks:
            raise Problem(f"--batch is {options.batch}; expected a multiple of the ranks, {ranks}")
    if any(ranks > 1 for ranks, _ in cuts) and shutil.which(options.mpirun) is None:
        raise Problem(f"--mpirun: there is no '{options.mpirun}'; expected the launcher of the MPI that the programs were "
                      "built with")
    os.makedirs(options.out, exist_ok=True)
    rounds = [[run_cut(options, cut) for cut in cuts] for _ in range(options.rounds)]
    results = []
    for c, (ranks, threads) in enumerate(cuts):
        runs = [one[c] for one in rounds]
        for run in runs:
            require_same(f"{ranks}x{threads}", run["losses"], rounds[0][0]["losses"], options.same)
        ratios = [statistics.median(one[c]["seconds"]) / statistics.median(one[0]["seconds"]) for one in rounds]
        results.append({"ranks": ranks, "threads": threads, "seconds": summary([s for run in runs for s in run["seconds"]]),
                        "data_wait_seconds": summary([s for run in runs for s in run["data_wait_seconds"]]),
                        "ratio": summary(ratios), "others_load": max(run["others_load"] for run in runs)})
    document = {"arch": options.arch, "batch": options.batch, "steps": options.steps, "rounds": options.rounds,
                "more": options.more, "when": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()), "cuts": results}
    text = table(("ranks x threads", "s a step, median (min to max)", f"times {options.cuts[0]}, median of the rounds (min to max)",
                  "of it waiting for images, s", "others had"),
                 [(f"{r['ranks']} x {r['threads']}", spread(r["seconds"]), spread(r["ratio"]),
                   number(r["data_wait_seconds"]["median"]),
                   f"{r['others_load']:.1%}{' of the machine: under load' if r['others_load'] > QUIET else ''}") for r in results])
    write(os.path.join(options.out, "ranks-measured.json"), json.dumps(document, indent=1) + "\n")
    print(text)


# --- The command -------------------------------------------------------------------------------------------------


def network_of(text):
    name, *numbers = text.split(":")
    try:
        latency, bandwidth = (float(part) for part in numbers)
    except ValueError:
        raise Problem(f"--network: '{text}'; expected NAME:MICROSECONDS:GIGABYTES_A_SECOND") from None
    if not (name and 0 <= latency < math.inf and 0 < bandwidth < math.inf):
        raise Problem(f"--network: '{text}'; expected a name, a latency of 0 or more and a bandwidth above 0")
    return Network(name, latency * 1e-6, bandwidth * 1e9)


def memory_of(options):
    """Bytes a second that one thread, as `Communicator` uses, reads and writes: said, or the recorded triad beyond caches."""
    if options.memory is not None:
        if not options.memory > 0:
            raise Problem(f"--memory is {options.memory}; expected GB/s above 0")
        return options.memory * 1e9
    known = {case["name"]: case["bytes/s"] for case in (read(options.results) or {}).get("parts", {}).get("benchmarks", [])
             if "bytes/s" in case}
    triad = "ceiling_triad/kB:262144/real_time/threads:1"
    if triad not in known:
        raise Problem(f"--results: {options.results} has no {triad}; expected it, or --memory")
    return known[triad]


def recorded(options):
    """Records of steps with their parts, as the options choose them."""
    if options.step:
        out = [read(path) for path in options.step]
        for path, record in zip(options.step, out):
            if record is None:
                raise Problem(f"--step: {path}: there is no such file")
        return out
    results = read(options.results)
    if results is None:
        raise Problem(f"--results: {options.results}: there is no such file")
    out = []
    for arch in options.arch:
        # Of several, that on most threads: profiles come before steps that were timed on one.
        known = [r for r in results.get("profiles", []) + results.get("scaling", [])
                 if r["workload"]["arch"] == arch and r["precision"] == options.precision]
        if not known:
            raise Problem(f"--results: {options.results} has no parts of a step of '{arch}' in {options.precision}; make one by "
                          "dssl-step --parts, and give it to --step")
        out.append(known[0])
    return out


def name_of(record, seconds, recipe, norms=()):
    work = record["workload"]
    # `scaling` runs on one thread whatever the process may use.
    threads = 1 if "scaling" in record else record["threads"]
    where = "a rank of so many seconds" if seconds else f"{threads} thread{'' if threads == 1 else 's'} a rank"
    more = "" if recipe == "densedino" else f", what {recipe} exchanges"
    if norms:
        more += f", batch norms of {' '.join(str(columns) for columns in norms)}"
    return f"{NAMES[work['arch']]}, {record['precision']}, {work['batch']} images and {where}{more}"


def simulate_all(options):
    networks = [network_of(text) for text in options.network] if options.network else NETWORKS
    if any(b <= 0 for b in options.bucket_mib):
        raise Problem("--bucket-mib: a bucket of nothing; expected sizes above 0, or inf for one bucket of all")
    if any(n < 1 for n in options.ranks) or sorted(set(options.ranks)) != options.ranks or options.ranks[0] != 1:
        raise Problem(f"--ranks: {' '.join(str(n) for n in options.ranks)}; expected 1 and more, in order")
    if any(columns < 1 for columns in options.norms):
        raise Problem(f"--norms: {' '.join(str(c) for c in options.norms)}; expected columns, 1 or more of each")
    if options.accumulate < 1:
        raise Problem(f"--accumulate is {options.accumulate}; expected 1 or more")
    memory = memory_of(options)
    studies = []
    for record in recorded(options):
        step = step_of(record)
        if options.seconds is not None:
            if not 0 < options.seconds < math.inf:
                raise Problem(f"--seconds is {options.seconds}; expected seconds above 0")
            step = scaled(step, options.seconds)
        work = record["workload"]
        exchanges = exchanges_of(options.recipe, prototypes=work["prototypes"], width=ARCHS[work["arch"]].width,
                                 batch=work["batch"], views=work["views"], norms=options.norms)
        studies.append(study_of(name_of(record, options.seconds, options.recipe, options.norms), step, exchanges, networks=networks,
                                ranks=options.ranks, buckets=options.bucket_mib, memory=memory, accumulate=options.accumulate))
    text = tables(studies)
    os.makedirs(options.out, exist_ok=True)
    write(os.path.join(options.out, "ranks.json"), json.dumps({"studies": studies}, indent=1) + "\n")
    write(os.path.join(options.out, "ranks.md"), text + "\n")
    image = os.path.join(options.out, "ranks.svg")
    if options.docs:
        image = os.path.join(options.docs, "images", "processes-ranks.svg")
    write(image, picture(studies))
    if options.docs:
        path = os.path.join(options.docs, "processes.md")
        with open(path) as file:
            page = file.read()
        begin, end = between(page, path)
        write(path, f"{page[:begin]}\n{text}\n{page[end:]}")
    print(text)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ways = parser.add_subparsers(dest="what", required=True)
    sim = ways.add_parser("simulate", help="a step over 1 to 1024 ranks from one that was measured")
    sim.add_argument("--out", required=True, help="folder for ranks.json, ranks.md and ranks.svg")
    sim.add_argument("--docs", help="folder of the documentation, whose tables and picture are written anew")
    sim.add_argument("--step", nargs="+", help="what dssl-step --parts wrote, instead of --results")
    sim.add_argument("--results", default=os.path.join(HERE, "results", "results.json"))
    sim.add_argument("--arch", nargs="+", default=["small16", "tiny16"], help="of --results")
    sim.add_argument("--precision", default="bf16", help="of --results")
    sim.add_argument("--seconds", type=float, help="of a step on one rank, as another machine takes; parts keep their shares")
    sim.add_argument("--recipe", default="densedino", choices=RECIPES,
                     help="whose exchanges are simulated; times and parameters stay those of the measured step, DenseDINO's")
    sim.add_argument("--norms", type=int, nargs="+", default=[],
                     help="columns of each batch norm of all ranks' rows that the recipe has not as published: in heads of prototypes "
                          "(DenseDINO's: 2048, of two layers of two heads), in DenseCL's projector of patches")
    sim.add_argument("--accumulate", type=int, default=1, help="passes an update")
    sim.add_argument("--ranks", type=int, nargs="+", default=RANKS)
    sim.add_argument("--network", nargs="+", help="NAME:MICROSECONDS:GIGABYTES_A_SECOND, instead of the four")
    sim.add_argument("--bucket-mib", type=float, nargs="+", default=BUCKETS,
                     help="sizes of buckets that are tried, in MiB; inf: one of all")
    sim.add_argument("--memory", type=float, help="GB/s that one thread reads and writes; default: the triad in --results")
    here = ways.add_parser("measure", help="a step of 1 process x 2 threads beside 2 processes x 1 thread")
    here.add_argument("--out", required=True, help="folder for ranks-measured.json")
    here.add_argument("--programs", default="build/release/examples")
    here.add_argument("--mpirun", default="mpirun")
    here.add_argument("--cuts", nargs="+", default=["1x2", "2x1"],
                      help="RANKSxTHREADS; the first is what others are compared with")
    here.add_argument("--arch", default="tiny16")
    here.add_argument("--batch", type=int, default=8, help="images of all ranks together")
    here.add_argument("--data", default="synthetic")
    here.add_argument("--rounds", type=int, default=5)
    here.add_argument("--steps", type=int, default=5, help="timed steps a run")
    here.add_argument("--warm-up", type=int, default=2, help="steps before them")
    here.add_argument("--same", type=float, default=1e-3, help="largest difference of losses, relative")
    here.add_argument("more", nargs="*", help="after --: more options of dssl-pretrain")
    options = parser.parse_args()
    try:
        simulate_all(options) if options.what == "simulate" else measure(options)
    except Problem as problem:
        print(f"ranks.py: {problem}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
