"""The layers that cross-validation chooses for MiniLM, loaded as any other model of sentence-transformers.

    python -m benchmarks.word_layers [--labels 50 200] [--seeds 2]

MiniLM's own layers for words, 3 and 4, were chosen on development texts of the same sets with all of their labels.
"""

from __future__ import annotations

import argparse

import numpy as np

from benchmarks.span_sets import FILES, load
from ml_backend.core import registry
from ml_backend.core.arrays import TrainingSet
from ml_backend.model.word_layers import LayerComparison, choose_layers
from plugins.encoders.minilm import MiniLM
from plugins.encoders.sentence import SentenceEncoder


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--labels", type=int, nargs="+", default=[50, 200])
    parser.add_argument("--seeds", type=int, default=2)
    options = parser.parse_args()
    encoder, learner = SentenceEncoder(str(MiniLM()._weights())), registry.learner("crf")
    candidates = encoder.layer_candidates()
    print("| set | labels | seed |", " | ".join("+".join(map(str, layers)) for layers in candidates), "| chosen |")
    print("|---" * (len(candidates) + 4) + "|")
    for name in FILES:
        pool = load(name)
        for labels in options.labels:
            for seed in range(options.seeds):
                rows = np.random.default_rng(seed).permutation(len(pool.train.texts))[:labels]
                train = TrainingSet(
                    vectors=np.zeros((labels, 1), np.float32),
                    targets=pool.train.targets[rows],
                    weights=np.ones(labels, np.float32),
                    control=pool.control,
                    texts=pool.train.read(rows),
                )
                choice = choose_layers(LayerComparison(encoder, None, 0.0, labels), learner, train)
                scores = " | ".join(f"{score:.1%}" for _, score in choice.scores)
                print(f"| {name} | {labels} | {seed} | {scores} | {choice.layers or candidates[0]} |", flush=True)


if __name__ == "__main__":
    main()
