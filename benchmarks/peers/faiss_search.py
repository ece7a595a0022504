#!/usr/bin/env python3
"""The searches of dssl-search by faiss: exact nearest rows by cosine or distance, and a greedy coreset.

    faiss_search.py --serve START --search cosine|distance|coreset [--threads N]

START is what `dssl-search --write-start` wrote. Needs numpy and faiss (PyPI: faiss-cpu). faiss has no coreset of its
own: each choice is the farthest row from those chosen, distances to the last choice by faiss's batched kernel, or by a
product of numpy's (`--coreset-by`), whichever is asked for.
"""

import argparse

import faiss
import numpy

import served
import tensor_file


def rows_near(bank, queries, k, by):
    if by == "cosine":
        bank, queries = bank.copy(), queries.copy()
        faiss.normalize_L2(bank)
        index = faiss.IndexFlatIP(bank.shape[1])
    else:
        index = faiss.IndexFlatL2(bank.shape[1])
    index.add(bank)

    def find():
        if by != "cosine":
            return index.search(queries, k)[0]
        unit = queries.copy()
        faiss.normalize_L2(unit)
        return index.search(unit, k)[0]

    def check():
        near = find().astype(numpy.float64)
        near = near if by == "cosine" else numpy.sqrt(numpy.maximum(near, 0))
        return [near.mean(), near[:, 0].mean()]

    return check, find


def coreset(rows, size, first, by):
    lengths = (rows * rows).sum(1)

    def apart(chosen):
        if by == "faiss":
            return faiss.pairwise_distances(rows[chosen : chosen + 1], rows)[0]
        return lengths + lengths[chosen] - 2 * (rows @ rows[chosen])

    def choose():
        nearest = numpy.full(len(rows), numpy.inf, numpy.float32)
        chosen = first
        for _ in range(size):
            numpy.minimum(nearest, apart(chosen), out=nearest)
            nearest[chosen] = 0
            chosen = int(nearest.argmax())
        return nearest

    return lambda: [float(numpy.sqrt(max(choose().max(), 0))), first], choose


def main():
    parser = argparse.ArgumentParser(description="The searches of dssl-search by faiss.")
    parser.add_argument("--serve", metavar="START", required=True)
    parser.add_argument("--search", choices=("cosine", "distance", "coreset"), required=True)
    parser.add_argument("--coreset-by", choices=("faiss", "numpy"), default="faiss")
    parser.add_argument("--threads", type=int, default=0, help="0: as many as the process may use")
    options = parser.parse_args()
    if options.threads:
        faiss.omp_set_num_threads(options.threads)
    at_start = served.status_bytes("VmRSS")
    tensors, case = tensor_file.read_case(options.serve)
    rows = numpy.ascontiguousarray(tensors["rows"])
    if options.search == "coreset":
        check, step = coreset(rows, case["coreset"], case["first"], options.coreset_by)
    else:
        check, step = rows_near(rows, numpy.ascontiguousarray(tensors["queries"]), case["neighbours"], options.search)
    library = f"faiss {faiss.__version__}" + (", numpy" if options.search == "coreset" and options.coreset_by == "numpy" else "")
    served.answer({"library": library, "options": faiss.get_compile_options(), "numpy": numpy.__version__,
                   "threads": faiss.omp_get_max_threads()}, at_start, check, step)


if __name__ == "__main__":
    main()
