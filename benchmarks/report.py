#!/usr/bin/env python3
"""Turns measured results into one JSON file, one Markdown table and the page docs/performance.md.

    report.py --results benchmarks/results [--keep] [--docs docs [--page performance] [--title TEXT] [--note TEXT]]

Reads what run.sh left in the folder (or, where that is gone, its results.json), writes results.json and results.md
there, and with --docs the page and its plots: a page for each machine, if there are several. Standard library only: the
plots are SVG written here.
"""

import argparse
import glob
import html
import json
import os

NAMES = {"small16": "ViT-S/16", "tiny16": "ViT-Ti/16", "base16": "ViT-B/16", "nano8": "nano/8"}
QUIET = 0.05  # share of all processors that others may use


def read(path):
    if not os.path.exists(path):
        return None
    with open(path) as file:
        return json.load(file)


def write(path, text):
    """Writes a file whole or not at all."""
    with open(path + ".new", "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(path + ".new", path)


# What a record measured; whatever else it holds is what came of it.
ASKED = ("program", "task", "device", "arch", "of", "size", "peer", "workload", "threads", "precision", "recompute", "stream_views")


def asked(record):
    return json.dumps([record.get(field) for field in ASKED], sort_keys=True)


def merged(earlier, out):
    """What was measured now in the place of the same thing measured earlier, record by record and of parts case by case; the
    rest as it was. A case that stays says when, under which load and on which processor it was measured: the context of parts
    is that of the newest."""
    whole = {**earlier, **{key: value for key, value in out.items() if value}}
    for key, records in out.items():
        if isinstance(records, list):
            whole[key] = list({asked(r): r for r in earlier.get(key, []) + records}.values())
    old = earlier.get("parts") or {}
    if old and out["parts"]:
        context = old.get("context", {})
        when = {field: context[field] for field in ("date", "load_before", "cpu") if field in context}
        cases = {c["name"]: {"measured": when, **c} for c in old["benchmarks"]}
        cases |= {c["name"]: c for c in out["parts"]["benchmarks"]}
        whole["parts"] = {**out["parts"], "benchmarks": list(cases.values())}
    return whole


def collect(folder, keep=False):
    """Everything in the folder as one object; what is not there is empty, or with `keep` as it was."""
    def several(pattern):
        return [read(path) for path in sorted(glob.glob(os.path.join(folder, pattern)))]

    steps = several("step-*.json")
    pairs = read(os.path.join(folder, "pairs.json")) or []
    out = {
        "steps": [s for s in steps if "parts" not in s],
        "profiles": [s for s in steps if "parts" in s and "scaling" not in s],
        "scaling": [s for s in steps if "scaling" in s],
        "features": several("features-*.json"),
        "pairs": [p for p in pairs if p["task"] not in ("search", "view-sets")],
        "searches": [p for p in pairs if p["task"] == "search"],
        "views": [p for p in pairs if p["task"] == "view-sets"],
        "parts": read(os.path.join(folder, "parts.json")) or {},
        "first": read(os.path.join(folder, "first.json")) or [],
        "costs": read(os.path.join(folder, "costs.json")) or {},
    }
    earlier = read(os.path.join(folder, "results.json")) or {}
    if not any(out.values()):
        return earlier or out
    if "compile_history" in earlier:  # no measurement of this tree: what compiling cost in earlier ones
        out["compile_history"] = earlier["compile_history"]
    # The build's folder of the machine that measured is nobody's business; its name and processor are enough.
    context = out["parts"].get("context", {})
    for field in ("host_name", "executable"):
        context.pop(field, None)
    return merged(earlier, out) if keep else out


# --- Text --------------------------------------------------------------------------------------------------------


def table(head, rows):
    """A table in Markdown; nothing where there are no rows."""
    if not rows:
        return ""
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join(lines + ["| " + " | ".join(str(cell) for cell in row) + " |" for row in rows])


def number(x, digits=3):
    return f"{x:.{digits}g}" if abs(x) < 1000 else f"{x:.0f}"


def spread(seconds):
    return f"{number(seconds['median'])} ({number(seconds['min'])} to {number(seconds['max'])})"


def megabytes(x):
    return f"{x / 1e6:.0f}"


def loaded(x):
    return " *" if x > QUIET else ""


def mode(pair):
    run = pair["peer_run"]
    words = [run["library"].split("+")[0], "torch.compile" if "compile" in run["mode"] else "eager"]
    if "(max)" in run["mode"]:
        words.append("max-autotune")
    if run["lean"]:
        words.append("heads on read rows only")
    if run["attention"] != "split":
        words.append("masked attention")
    return ", ".join(words)


def both(precision):
    return " / ".join(dict.fromkeys((precision["ours"], precision["peer"])))


def pair_cells(p):
    """What every comparison with a peer says: both times, the ratio, and memory."""
    return (spread(p["ours"]["seconds"]), spread(p["peer_run"]["seconds"]),
            f"**{p['ratio']['median']:.2f}** ({p['ratio']['min']:.2f} to {p['ratio']['max']:.2f}){loaded(p['others_load'])}",
            f"{p['processor_seconds']['ratio']['median']:.2f}",
            " / ".join(f"{megabytes(m['peak'])} ({megabytes(m['at_start'])})" for m in (p["peak"]["ours"], p["peak"]["peer"])))


def taken(pairs):
    """When pairs were measured, and at which commit, or with which one they were recorded where that was not kept."""
    when = sorted(p["when"].removesuffix(" UTC") for p in pairs)
    commits = [f"{word} commit {', '.join(names)}" for key, word in (("commit", "at"), ("recorded_with", "recorded with"))
               if (names := sorted({p[key] for p in pairs if key in p}))]
    return f"Measured {when[0]} to {when[-1]} UTC" + "".join(f", {c}" for c in commits) + "."


def pair_rows(pairs):
    return [(NAMES[p["arch"]], p["workload"]["batch"], p["threads"], both(p["precision"]), mode(p), *pair_cells(p))
            for p in pairs]


def search_rows(pairs):
    rows = []
    for p in pairs:
        w = p["workload"]
        chosen = p["arch"] == "coreset"
        rows.append(
            (f"coreset of {w['coreset']}" if chosen else f"{w['neighbours']} nearest by {p['arch']}",
             f"{w['rows']} x {w['width']}, {'patch features' if w.get('features') else 'drawn'}",
             "" if chosen else w["queries"], p["threads"], p["peer_run"]["library"],
             *pair_cells(p)))
    return rows


SEARCH_HEAD = ("search", "bank", "queries", "threads", "peer", "dssl, s", "peer, s", "ratio (min to max)",
               "of processor time", "peak MB (of it before the bank was read), dssl / peer")
PAIR_HEAD = ("model", "batch", "threads", "format", "peer", "dssl, s", "peer, s", "ratio (min to max)",
             "of processor time",
             "peak MB (of it before the model was made), dssl / peer")


def less_memory(step):
    """Options by which a step takes less memory, as they are named in the table."""
    return [name for key, name in (("recompute", "recompute"), ("stream_views", "stream views")) if step.get(key)]


def step_rows(steps):
    return [
        (NAMES[s["workload"]["arch"]], s["workload"]["batch"],
         ", ".join((s["precision"], *less_memory(s))), s["threads"], spread(s["seconds"]),
         number(s["images_per_second"]), number(s["flops"] / 1e9), f"{s['of_ceiling']:.0%}{loaded(s['others_load'])}",
         megabytes(s["memory"]["plan"] + s["memory"]["scratch"]), megabytes(s["memory"]["peak"]))
        for s in sorted(steps, key=lambda s: (s["workload"]["arch"], s["precision"], s["threads"], less_memory(s)))
    ]


STEP_HEAD = ("model", "batch", "format", "threads", "s a step (min to max)", "images/s", "GFLOP/s", "of ceiling",
             "planned MB", "peak MB")


def feature_rows(features):
    return [
        (NAMES[f["workload"]["arch"]], f"{f['workload']['size']} x {f['workload']['size']}", f["workload"]["batch"],
         f["precision"], f["threads"], number(1e3 * f["seconds"]["median"]), number(f["images_per_second"]),
         number(f["flops"] / 1e9), f"{f['of_ceiling']:.0%}{loaded(f['others_load'])}", megabytes(f["memory"]["peak"]))
        for f in sorted(features, key=lambda f: (f["workload"]["arch"], f["precision"], f["threads"]))
    ]


FEATURE_HEAD = ("model", "image", "batch", "format", "threads", "ms", "images/s", "GFLOP/s", "of ceiling", "peak MB")


def grouped(profile):
    """The parts of a step by primitive, the longest first: name, seconds, floor, calls, FLOP, bytes."""
    groups = {}
    for part in profile["parts"]:
        group = groups.setdefault(part["name"], {"seconds": 0, "floor_seconds": 0, "calls": 0, "flop": 0, "bytes": 0})
        for field in group:
            group[field] += part[field]
    return sorted(groups.items(), key=lambda item: -item[1]["seconds"])


def profile_rows(profile, least=0.0):
    whole = sum(g["seconds"] for _, g in grouped(profile)) + profile["outside_parts"]
    rows = [
        (f"`{name}`", number(g["calls"]), number(1e3 * g["seconds"]), f"{g['seconds'] / whole:.1%}",
         number(1e3 * g["floor_seconds"]), f"{g['floor_seconds'] / g['seconds']:.0%}" if g["seconds"] > 0 else "",
         number(g["flop"] / 1e9) if g["flop"] else "", number(g["bytes"] / 1e6))
        for name, g in grouped(profile) if g["seconds"] >= least * whole
    ]
    outside = profile["outside_parts"]
    return rows + [("outside of primitives", "", number(1e3 * outside), f"{outside / whole:.1%}", "", "", "", "")]


PROFILE_HEAD = ("primitive", "calls", "ms", "share", "floor, ms", "floor / time", "GFLOP", "MB")


def rate_of(case):
    for field, unit in (("FLOP/s", "GFLOP/s"), ("bytes/s", "GB/s")):
        if field in case:
            return f"{number(case[field] / 1e9)} {unit}"
    if "images/s" in case:
        return f"{number(case['images/s'])} images/s"
    return ""


def case_rows(parts, wanted):
    return [
        (f"`{c['name']}`", f"{number(c['real_time'])} {c['time_unit']}", rate_of(c))
        for c in parts.get("benchmarks", [])
        if c.get("run_type") != "aggregate" and not c.get("error_occurred") and wanted(c["name"])
    ]


CASE_HEAD = ("case", "time", "rate")


def cost_rows(costs):
    base = costs.get("base")

    def row(what, c, size=""):
        times = f"{c['least'] / base['least']:.1f}" if base else ""
        return (what, number(c["seconds"]), times, megabytes(c["peak"]), size)

    rows = [row("`#include <Eigen/Core>`, `<tbb/parallel_for.h>`", base)] if base else []
    for key, how in (("headers", "header-only"), ("headers_compiled", "with `dssl::cpu`")):
        rows += [row(f"`#include <{name}>`, {how}", c) for name, c in costs.get(key, {}).items()]
    if "minimal" in costs:
        c = costs["minimal"]
        rows.append(row("`examples/minimal.cpp`, a whole training program, header-only", c,
                        f"{c['stripped_bytes'] / 1e3:.0f}"))
    for key, how in (("minimal_compiled", "with `dssl::cpu`"), ("minimal_compiled_O0", "with `dssl::cpu`, -O0")):
        if key in costs:
            rows.append(row(f"the same, {how}", costs[key]))
    for count, c in costs.get("recipes", {}).items():
        rows.append(row(f"a program with {count} recipes, header-only", c["header_only"]))
        rows.append(row(f"a program with {count} recipes, with `dssl::cpu`", c["compiled"]))
    return rows


COST_HEAD = ("what is compiled", "processor s", "times Eigen and oneTBB", "compiler's peak MB", "stripped kB")


def first_rows(first):
    def aim(f):
        return "" if not f.get("aim") else f"{1e3 * f['aim']:.0f}{'' if f['seconds']['median'] <= f['aim'] else ', missed'}"

    return [(NAMES[f["arch"]], f"{f['size']} x {f['size']}",
             f"{1e3 * f['seconds']['median']:.0f} ({1e3 * f['seconds']['min']:.0f} to {1e3 * f['seconds']['max']:.0f})", aim(f),
             megabytes(f["peak"]) if "peak" in f else "")
            for f in first if f.get("of") != "program"]


FIRST_HEAD = ("model", "image", "ms (min to max)", "aim ms", "peak MB")


def view_rows(views):
    def rate(p, who):
        return number(p["workload"]["images"] / max(p["processor_seconds"][who]["median"], 0.01))

    def ratio(p):
        r = p["processor_seconds"]["ratio"]
        return f"**{r['median']:.2f}** ({r['min']:.2f} to {r['max']:.2f}){loaded(p['others_load'])}"

    return [(VIEW_WORDS[p["arch"]], rate(p, "ours"), rate(p, "peer"), ratio(p)) for p in views]


VIEW_WORDS = {"boxes": "boxes", "homographies": "through homographies", "boxes-plain": "boxes, values unchanged",
              "homographies-plain": "through homographies, values unchanged"}
VIEW_HEAD = ("views", "dssl, images a processor second", "peer, images a processor second", "ratio (min to max)")


# --- Plots -------------------------------------------------------------------------------------------------------


class Bars:
    """Horizontal bars with a label left and a value right, and a thin mark where a bar has a floor."""

    def __init__(self, title, unit):
        self.title, self.unit, self.bars = title, unit, []

    def add(self, label, value, text, strong=False, floor=None):
        self.bars.append((label, value, text, strong, floor))

    def svg(self):
        width, left, right, line = 760, 300, 110, 24
        height = 44 + line * len(self.bars) + 24
        largest = max(value for _, value, *_ in self.bars) or 1.0
        scale = (width - left - right) / largest
        style = "font-family='sans-serif' font-size='13'"
        out = [f"<svg xmlns='http://www.w3.org/2000/svg' width='{width}' height='{height}' "
               f"viewBox='0 0 {width} {height}' {style}>",
               f"<rect width='{width}' height='{height}' fill='#ffffff'/>",
               f"<text x='12' y='24' font-size='15' fill='#222222'>{html.escape(self.title)}</text>"]
        for i, (label, value, text, strong, floor) in enumerate(self.bars):
            y = 40 + line * i
            colour = "#1f6f8b" if strong else "#9aa5ad"
            out.append(f"<text x='{left - 8}' y='{y + 15}' text-anchor='end' fill='#222222'>{html.escape(label)}</text>")
            out.append(f"<rect x='{left}' y='{y + 2}' width='{max(value * scale, 1):.1f}' height='{line - 7}' fill='{colour}'/>")
            if floor is not None:
                x = left + floor * scale
                out.append(f"<line x1='{x:.1f}' y1='{y}' x2='{x:.1f}' y2='{y + line - 3}' stroke='#c0392b' stroke-width='2'/>")
            end = left + max(value, floor or 0) * scale
            out.append(f"<text x='{end + 6:.1f}' y='{y + 15}' fill='#222222'>{html.escape(text)}</text>")
        out.append(f"<text x='{left}' y='{height - 8}' fill='#666666' font-size='12'>{html.escape(self.unit)}</text>")
        out.append("</svg>")
        return "\n".join(out) + "\n"


def pair_plot(pairs, arch, task):
    """Times of dssl and of each peer, f32 and bf16, for one model."""
    chosen = [p for p in pairs if p["arch"] == arch and p["task"] == task]
    if not chosen:
        return None
    what = "training step" if task == "step" else "feature map of a 448 x 448 image"
    bars = Bars(f"{NAMES[arch]}: {what}", "seconds, median of the pairs; shorter is better")
    seen = set()
    for p in chosen:
        threads = "" if p["threads"] == 1 else "s"
        key = (p["precision"]["ours"], p["threads"])
        if key not in seen:
            seen.add(key)
            s = p["ours"]["seconds"]["median"]
            bars.add(f"dssl, {key[0]}, {p['threads']} thread{threads}", s, number(s), strong=True)
        s = p["peer_run"]["seconds"]["median"]
        bars.add(f"{mode(p)}, {p['precision']['peer']}", s, f"{number(s)} ({p['ratio']['median']:.2f} x)")
    return bars.svg()


def profile_plot(profile):
    bars = Bars(f"{NAMES[profile['workload']['arch']]}, {profile['precision']}: a step by primitive",
                "milliseconds; the red mark is what the machine's ceilings allow")
    for name, g in grouped(profile)[:14]:
        ms = 1e3 * g["seconds"]
        bars.add(name, ms, number(ms), strong=True, floor=1e3 * g["floor_seconds"])
    return bars.svg()


# --- The page ----------------------------------------------------------------------------------------------------


SCALING_HEAD = ("model", "format", "1", "2", "4", "8", "16", "32", "64", "critical path, s", "loops a step", "GB a step")


def scaling_rows(measured):
    """Simulated seconds a step by threads, with the longest chain of tasks and what goes through memory."""
    rows = []
    for m in measured:
        s = m["scaling"]
        rows.append((NAMES[m["workload"]["arch"]], m["precision"],
                     *(f"{number(t['seconds'])} ({t['speed_up']:.1f})" for t in s["simulated"]),
                     number(s["critical_path"]), f"{s['loops']:.0f}", number(s["bytes"] / 1e9)))
    return rows


def any_load(results):
    kinds = ("pairs", "searches", "views", "steps", "profiles", "features")
    return max((r["others_load"] for kind in kinds for r in results.get(kind, [])), default=0.0)


def machine_lines(results):
    context = results["parts"].get("context", {})
    any_run = next(iter(results["steps"] + results["profiles"] + results["features"]), None)
    machine = any_run["machine"] if any_run else context
    lines = [f"- Processor: {machine.get('cpu', '?')}, {machine.get('processors', '?')} of its cores.",
             f"- Compiler: {machine.get('compiler', '?')}, `{machine.get('flags', '?')}`."]
    for backend in sorted({r["backend"] for r in results["steps"] + results["features"]}):
        lines.append(f"- Backend: {backend}.")
    peers = {json.dumps({k: p["peer_run"][k] for k in ("library", "cpu_capability", "malloc")}) for p in results["pairs"]}
    for peer in sorted(peers):
        p = json.loads(peer)
        lines.append(f"- Peer: {p['library']} ({p['cpu_capability']}), one OpenMP thread a core, `GLIBC_TUNABLES={p['malloc']}`.")
    return "\n".join(lines)


def load_line(results):
    share = any_load(results)
    if share <= QUIET:
        return f"Nothing else ran meanwhile: others used at most {share:.1%} of the processors."
    return (f"**Numbers marked with * were taken under load** (others used up to {share:.0%} of the processors). Their times "
            "are too long, and the ratios of wall time flatter whoever waits less at barriers: do not quote them. "
            "The ratio of processor time with one thread is what still means something.")


def page(results, plots, name, folder, title, note):
    def section(title, *blocks):
        return "\n\n".join((f"## {title}", *(b for b in blocks if b)))

    def image(plot, text):
        plot = f"{name}-{plot}"
        return f"![{text}](images/{plot})" if plot in plots else ""

    parts = [f"# {title}",
             f"Made by `benchmarks/report.py` from `{folder}/results.json`: change the measurements, not this page."
             + (f" {note}" if note else ""),
             "## Machine and conditions", machine_lines(results), load_line(results)]
    ceilings = case_rows(results["parts"], lambda n: n.startswith("ceiling_"))
    if ceilings:
        bandwidth = any("`ceiling_triad" in row[0] for row in ceilings)
        parts.append(section("Ceilings", "Multiply-adds in registers and bytes through memory; every percentage below is of these."
                             if bandwidth else "Multiply-adds in registers. Bytes through memory were measured beside each "
                             "profile, and are named there.", table(CASE_HEAD, ceilings)))
    step_pairs = [p for p in results["pairs"] if p["task"] == "step"]
    feature_pairs = [p for p in results["pairs"] if p["task"] == "features"]
    if step_pairs:
        parts.append(section(
            "The training step beside PyTorch",
            "The published step: 2 + 4 views at 224 pixels, 2 random points a view pair, private relation, both losses, "
            "stochastic depth 0.1, AdamW; 65 536 prototypes for ViT-S, 4 096 for ViT-Ti. The two programs run in turn, "
            "from the same weights and views, after their losses and gradient norms were found to agree; the ratio is "
            "taken pair by pair, above 1 where dssl is faster.",
            *(image(f"step-{arch}.svg", f"{NAMES[arch]}: seconds a step") for arch in NAMES),
            table(PAIR_HEAD, pair_rows(step_pairs)), taken(step_pairs)))
    if results["steps"]:
        parts.append(section(
            "The training step alone",
            "FLOP are counted by the published method, whatever dssl leaves out: "
            "`F(T) = L (24 T D^2 + 4 T^2 D) + 2 N C p^2 D` for a view of T tokens, N of them patches, "
            "`Hd = 2 (D h + h^2 + h b + b P)` for a row of a head, and a step is "
            "`B (3 sum_v F(1 + N_v + 2K) + 2 F(1 + N_g + V K) + 3 V (1 + 2K) Hd + 2 (1 + V K) Hd)`. "
            "Planned: the arena, made before the first step, and the backend's scratch.",
            table(STEP_HEAD, step_rows(results["steps"]))))
    if results.get("scaling"):
        parts.append(section(
            "Threads that this machine does not have",
            "Every task of a step timed on one thread, then given to 1 to 64 threads as they come free, with 10 microseconds "
            "for each loop that threads share: seconds (and how many times as fast as one thread). Threads do not slow each "
            "other down in this model; the bytes of a step over a machine's bandwidth bound it from below. The blocks that "
            "work is cut into depend on shapes alone, so that results have the same bits for any number of threads: that "
            "bounds how many threads a batch of this size can use.",
            table(SCALING_HEAD, scaling_rows(results["scaling"]))))
    for profile in results["profiles"]:
        arch, precision = profile["workload"]["arch"], profile["precision"]
        parts.append(section(
            f"Where a step's time goes: {NAMES[arch]}, {precision}, threads: {profile['threads']}",
            f"A step of {number(profile['seconds']['median'])} s{loaded(profile['others_load'])}. Floor: FLOP at the "
            f"ceiling, {profile['ceiling']['flops'] / 1e9:.0f} GFLOP/s, or bytes through memory, "
            f"{number(profile['ceiling']['bytes'] / 1e9)} GB/s, whichever takes longer. What lies in a cache can be faster than that.",
            image(f"parts-{arch}-{precision}.svg", "A step by primitive"),
            table(PROFILE_HEAD, profile_rows(profile, least=0.001)),
            "Primitives that take less than a thousandth of the step are left out."))
    if results["steps"]:
        s = max(results["steps"], key=lambda s: s["memory"]["plan"])
        rows = [(e["name"], megabytes(e["bytes"])) for e in s["memory"]["plan_parts"]]
        rows += [("scratch of the backend", megabytes(s["memory"]["scratch"])),
                 ("plan and scratch together", megabytes(s["memory"]["plan"] + s["memory"]["scratch"])),
                 ("largest resident memory of the process", megabytes(s["memory"]["peak"])),
                 ("of it, before anything was made", megabytes(s["memory"]["at_start"]))]
        parts.append(section("Memory", f"{NAMES[s['workload']['arch']]}, batch {s['workload']['batch']}:",
                             table(("part", "MB"), rows)))
    if results["features"] or feature_pairs:
        parts.append(section("Feature extraction",
                             table(FEATURE_HEAD, feature_rows(results["features"])) if results["features"] else "",
                             *(image(f"features-{arch}.svg", f"{NAMES[arch]}: feature map") for arch in NAMES),
                             *((table(PAIR_HEAD, pair_rows(feature_pairs)), taken(feature_pairs)) if feature_pairs else ())))
    if results.get("searches"):
        parts.append(section(
            "Nearest patches and coresets beside faiss",
            "Exact search in float32 on the same rows, in turn, after both were found to give the same nearness and the "
            "same radius. faiss has no coreset of its own: the peer takes distances to each choice from faiss's batched "
            "kernel, or from numpy's product, and keeps the smallest.",
            table(SEARCH_HEAD, search_rows(results["searches"])), taken(results["searches"])))
    if results.get("views"):
        views = results["views"]
        parts.append(section(
            "Views beside torchvision and Pillow",
            "The 2 + 4 published views of 224 pixels of an image of 480 x 360, decoded already, on one thread: boxes, and boxes turned by up to "
            f"30 degrees and seen at an angle. Peer: {views[-1]['peer_run']['library']}, in turn, for the same places and changes of values, "
            "which are drawn for it beforehand; the means of every quarter of every view were found to agree to about 3 grey levels. Pillow reads "
            "homographies without anti-aliasing, straight at the view's size; dssl with it." +
            (" *: others used the processors meanwhile, and the clock says nothing; a processor second is then less than a quiet one, "
             "for both." if any(p["under_load"] for p in views) else ""),
            table(VIEW_HEAD, view_rows(views)), taken(views)))
    if results["first"]:
        parts.append(section("From the start of a process to its first feature", table(FIRST_HEAD, first_rows(results["first"]))))
    if results["parts"]:
        images = case_rows(results["parts"], lambda n: n.startswith(
            ("densedino_", "dino_", "decode_", "load_", "open_", "bicubic_", "plan_only", "camera/")))
        if images:
            parts.append(section("Images, views and loading", table(CASE_HEAD, images)))
        products = case_rows(results["parts"], lambda n: "/linear_" in n or "/attention_" in n or "/block/" in n or "/head/" in n)
        if products:
            parts.append(section("Products and layers", table(CASE_HEAD, products)))
    history = results.get("compile_history")
    if history:
        rows = [(row["what"], row["before"], row["after"], row["aim"], {True: "yes", False: "**no**", None: ""}[row["reached"]])
                for row in history["rows"]]
        parts.append(section("Compile costs before and after", history["note"],
                             table(("what", "before", "after", "aim", "reached"), rows), history["more"]))
    if results["costs"]:
        parts.append(section("Compile time and size", f"`{results['costs']['compiler']}`, `{results['costs']['flags']}`.",
                             table(COST_HEAD, cost_rows(results["costs"]))))
    parts.append(section(
        "Measuring again",
        "```sh\ncmake -B build/release -DCMAKE_BUILD_TYPE=Release -DDSSL_BUILD_BENCHMARKS=ON\n"
        "benchmarks/run.sh --python /path/to/python-with-torch   # without --python: no peer\n"
        "benchmarks/report.py --results benchmarks/results --docs docs\n```",
        "`dssl-step --parts` times one workload by primitive; `dssl_benchmarks --benchmark_filter=attention` one kind of "
        "part; `step_pairs.py COMMIT` the step of a commit beside that of the working tree; `peers/run.py` one comparison, `--task search` that with faiss, `--task view-sets` views beside Pillow; `peers/densedino.py --check tests/fixtures` compares the peer with the "
        "reference numbers."))
    return "\n\n".join(parts) + "\n"


def markdown(results):
    blocks = [machine_lines(results), load_line(results)]
    for title, head, rows in (
        ("In turn with a peer", PAIR_HEAD, pair_rows(results["pairs"])),
        ("Search in turn with a peer", SEARCH_HEAD, search_rows(results.get("searches", []))),
        ("Views in turn with a peer", VIEW_HEAD, view_rows(results.get("views", []))),
        ("Training step", STEP_HEAD, step_rows(results["steps"])),
        ("Feature extraction", FEATURE_HEAD, feature_rows(results["features"])),
        ("First feature", FIRST_HEAD, first_rows(results["first"])),
        ("Compile time and size", COST_HEAD, cost_rows(results["costs"])),
        ("Parts", CASE_HEAD, case_rows(results["parts"], lambda _: True)),
    ):
        if rows:
            blocks.append(f"## {title}\n\n{table(head, rows)}")
    for profile in results["profiles"]:
        blocks.append(f"## Parts of a step: {profile['workload']['arch']}, {profile['precision']}\n\n"
                      f"{table(PROFILE_HEAD, profile_rows(profile))}")
    return "\n\n".join(blocks) + "\n"


def main():
    parser = argparse.ArgumentParser(description="Makes tables and docs/performance.md from measured results.")
    parser.add_argument("--results", required=True, help="folder that run.sh wrote")
    parser.add_argument("--docs", help="folder of the documentation; the page there is written anew")
    parser.add_argument("--page", default="performance", help="name of the page, and what its plots' names begin with")
    parser.add_argument("--title", default="Performance", help="of the page")
    parser.add_argument("--note", default="", help="a sentence or two at its beginning, in Markdown")
    parser.add_argument("--keep", action="store_true", help="what was not measured anew stays as results.json has it: each step, pair and case; costs are one")
    options = parser.parse_args()
    results = collect(options.results, options.keep)
    write(os.path.join(options.results, "results.json"), json.dumps(results, indent=1) + "\n")
    write(os.path.join(options.results, "results.md"), markdown(results))
    if not options.docs:
        return
    plots = {}
    prefix = options.page
    for arch in NAMES:
        for task in ("step", "features"):
            plots[f"{prefix}-{task}-{arch}.svg"] = pair_plot(results["pairs"], arch, task)
    for profile in results["profiles"]:
        plots[f"{prefix}-parts-{profile['workload']['arch']}-{profile['precision']}.svg"] = profile_plot(profile)
    plots = {name: svg for name, svg in plots.items() if svg}
    images = os.path.join(options.docs, "images")
    os.makedirs(images, exist_ok=True)
    for old in glob.glob(os.path.join(images, "*.svg")):
        if os.path.basename(old).startswith(tuple(f"{prefix}-{kind}-" for kind in ("step", "features", "parts"))):
            os.remove(old)
    for name, svg in plots.items():
        write(os.path.join(images, name), svg)
    write(os.path.join(options.docs, prefix + ".md"),
          page(results, plots, prefix, options.results, options.title, options.note))


if __name__ == "__main__":
    main()
