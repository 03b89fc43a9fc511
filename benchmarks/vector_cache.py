"""A million vectors added to a cache in shards, as an encoder makes them: whether the cost of a shard grows.

    python -m benchmarks.vector_cache [--vectors 1000000] [--dimension 8]

CPU seconds and files at each doubling; the vectors are made up, so that only the cache is measured.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np

from ml_backend.domain import KEY_BYTES
from ml_backend.pool import SHARD
from ml_backend.store import Vectors


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vectors", type=int, default=1_000_000)
    parser.add_argument("--dimension", type=int, default=8)
    options = parser.parse_args()
    random = np.random.default_rng(0)
    vectors = random.normal(size=(SHARD, options.dimension)).astype(np.float32)
    print("| vectors | CPU seconds | slowest shard | files | keys handled |\n|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        cache, worst, begin = Vectors(Path(folder)), 0.0, time.process_time()
        for shard in range(1, options.vectors // SHARD + 1):
            raw = random.bytes(KEY_BYTES * SHARD)
            before = time.process_time()
            cache.add([raw[at : at + KEY_BYTES] for at in range(0, len(raw), KEY_BYTES)], vectors)
            worst = max(worst, time.process_time() - before)
            if shard.bit_count() == 1 or shard == options.vectors // SHARD:
                seconds, files = time.process_time() - begin, len(list(Path(folder).iterdir()))
                print(
                    f"| {len(cache):,} | {seconds:.2f} | {worst:.3f} | {files} | {cache.keys_handled:,} |", flush=True
                )


if __name__ == "__main__":
    main()
