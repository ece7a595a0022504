"""How a peer is run in turn with dssl: a command a line on stdin, an answer a line (benchmarks/serve.hpp says the same)."""

import contextlib
import json
import sys
import time


def status_bytes(field):
    with open("/proc/self/status") as file:
        for line in file:
            if line.startswith(field + ":"):
                return 1024 * int(line.split()[1])
    return 0


def reset_peak():
    """Makes the kernel forget the largest resident memory so far."""
    with contextlib.suppress(OSError), open("/proc/self/clear_refs", "w") as file:
        file.write("5")


def answer(description, at_start, check, step, peak=lambda: status_bytes("VmHWM"), reset=reset_peak):
    """`step`: seconds of one call of `step`; `check`: the numbers that `check` gives; `peak`: the bytes that `peak`
    gives, the largest resident memory where it is not given, since the first `step`, before which `reset` is called,
    and `at_start`."""
    measured = False
    print("ready", json.dumps(description), flush=True)
    for line in sys.stdin:
        command = line.strip()
        if command == "step":
            if not measured:
                reset()
                measured = True
            begin = time.perf_counter()
            step()
            print(f"{time.perf_counter() - begin:.6f}", flush=True)
        elif command == "check":
            print(" ".join(f"{x:.9g}" for x in check()), flush=True)
        elif command == "peak":
            print(peak(), at_start, flush=True)
        else:
            raise SystemExit(f"unknown command {command!r}")
