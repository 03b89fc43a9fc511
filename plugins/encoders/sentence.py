"""Any sentence-transformers or Hugging Face encoder, by hub name or path (Reimers and Gurevych, EMNLP 2019)."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ml_backend.core.arrays import Floats
from ml_backend.core.exceptions import ApprenticeError
from ml_backend.core.texts import Layers, WordVectors, words_without_vectors
from plugins.encoders.word_pooling import OVERLAP_TOKENS, word_vectors
from plugins.encoders.word_sketch import WordSketch

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

BATCH_SIZE = 32
MIDDLE: Layers = ()  # stands for the two layers in the middle
DEFAULT_MAX_TOKENS = 512  # of a model that does not say how many it reads


class SentenceEncoder:
    """`model` is a folder or a name on the Hugging Face hub. A folder is read without any access to the network.

    Thread-safe. Every method, and `dim`, raises ApprenticeError if the model cannot be found or read.
    """

    def __init__(self, model: str) -> None:
        self._source = model
        self._is_local = Path(model).expanduser().is_dir()
        self._path = str(Path(model).expanduser().resolve()) if self._is_local else model
        self._lock = threading.Lock()
        self._model: SentenceTransformer | None = None
        self._sketch: WordSketch | None = None
        self._dim: int | None = None

    @property
    def name(self) -> str:
        """Returns the model's name, safe as a folder's name. The name of a folder ends in a digest of its path, because
        folders often share a name."""
        if not self._is_local:
            return re.sub(r"[^\w.-]+", "--", self._source).strip(".-") or "model"
        digest = hashlib.sha256(self._path.encode()).hexdigest()[:8]
        return re.sub(r"[^\w.-]+", "-", Path(self._path).name) + "-" + digest

    @property
    def quick(self) -> bool:
        return False

    @property
    def dim(self) -> int:
        """Returns the dimension from the configuration files or, for an unusual model, from the loaded model."""
        if self._dim is None:
            with self._lock:  # importing transformers in two threads at once fails
                configured = self._configured_dim()
            self._dim = configured or int(self.encode([""]).shape[1])
        return self._dim

    def verify(self) -> str:
        vector = self.encode(["One sentence, to see that the weights work."])
        if not np.isfinite(vector).all():
            raise ApprenticeError(
                f"The encoder {self._source} gives vectors that are not finite: its weights are damaged. "
                "Download it again or choose another encoder."
            )
        return f"{self._source} loads and gives {vector.shape[1]} dimensions; no published checksum to compare with"

    def encode(self, texts: Sequence[str]) -> Floats:
        """Returns vectors (n, dim) float32 of unit length, in the order of `texts`; sentence-transformers batches them
        by length."""
        model = self._loaded()
        vectors = model.encode(
            list(texts),
            batch_size=BATCH_SIZE,
            show_progress_bar=False,
            normalize_embeddings=True,
            convert_to_numpy=True,
        )
        return np.asarray(vectors, dtype=np.float32).reshape(len(texts), -1 if len(texts) else self.dim)

    def encode_with_words(self, texts: Sequence[str]) -> tuple[Floats, list[WordVectors]]:
        """Returns the vectors of `encode`, and the words of each text with the mean of their tokens' states after the
        two layers in the middle, from a second pass through the model. Words have vectors of no numbers if the model is
        no transformer or its tokenizer does not say where a token stands."""
        vectors, [words] = self.encode_with_layers(texts, [MIDDLE])
        return vectors, words

    def layer_candidates(self) -> list[Layers]:
        """Returns the two layers in the middle; then pairs of neighbours nearer to the first and to the last layer, and
        the last one. Only `MIDDLE` if there is no choice."""
        transformer = self._word_transformer()
        n = 0 if transformer is None else int(getattr(transformer.config, "num_hidden_layers", 0))
        if not n:
            return [MIDDLE]
        firsts = sorted({max(1, n * sixth // 6) for sixth in (1, 2, 4, 5)})
        pairs = ((first, first + 1) for first in firsts if first < n)
        return [*dict.fromkeys([_middle(n), *pairs, (n,)])]

    def encode_with_layers(
        self, texts: Sequence[str], candidates: Sequence[Layers]
    ) -> tuple[Floats, list[list[WordVectors]]]:
        """Returns the vectors of `encode`, and for each of the candidates the words of each text, see
        `encode_with_words`. Layers are numbered from 1; 0 stands for the embeddings of the tokens."""
        transformer, model = self._word_transformer(), self._loaded()
        if transformer is None:
            return self.encode(texts), [[words_without_vectors(text) for text in texts] for _ in candidates]
        words: list[list[WordVectors]] = [[] for _ in candidates]
        for start in range(0, len(texts), BATCH_SIZE):
            batch = list(texts[start : start + BATCH_SIZE])
            encoded = _encode_words(transformer, model.tokenizer, batch, model.max_seq_length, candidates)
            words = [[*before, *of_batch] for before, of_batch in zip(words, encoded, strict=True)]
        return self.encode(texts), words

    def _word_transformer(self) -> Any | None:
        """The transformer, None if words have no vectors."""
        model = self._loaded()
        has_offsets = getattr(model.tokenizer, "is_fast", False)
        return getattr(model[0], "auto_model", None) if has_offsets else None

    def sketch(self, texts: Sequence[str]) -> Floats:
        """Returns vectors (n, d') float32 of unit length from the word vectors. Raises ApprenticeError for a model
        without any."""
        model = self._loaded()
        with self._lock:
            if self._sketch is None:
                self._sketch = self._make_sketch(model)
        return self._sketch(texts)

    def _make_sketch(self, model: SentenceTransformer) -> WordSketch:
        from tokenizers import Tokenizer

        try:
            transformer: Any = model[0]
            word_vectors = transformer.auto_model.get_input_embeddings().weight.detach().float().cpu().numpy()
            tokenizer = Tokenizer.from_str(model.tokenizer.backend_tokenizer.to_str())  # a copy: its settings change
        except (AttributeError, NotImplementedError) as error:
            raise ApprenticeError(
                f"The encoder {self._source} has no word vectors or no fast tokenizer, so it cannot sketch texts. "
                "Choose a transformer with a fast tokenizer."
            ) from error
        return WordSketch(word_vectors, tokenizer)

    def _loaded(self) -> SentenceTransformer:
        with self._lock:
            if self._model is None:
                self._model = self._load()
            return self._model

    def _load(self) -> SentenceTransformer:
        from sentence_transformers import SentenceTransformer
        from transformers.utils import logging

        has_progress_bars = logging.is_progress_bar_enabled()
        logging.disable_progress_bar()  # type: ignore[no-untyped-call]
        self._refuse_pickles()
        try:
            safetensors_only = {"use_safetensors": True}  # weights in any other form would be unpickled
            return SentenceTransformer(self._path, local_files_only=self._is_local, model_kwargs=safetensors_only)
        except (OSError, ValueError, RuntimeError) as error:
            location = "from that folder" if self._is_local else "from the Hugging Face hub or its cache"
            raise ApprenticeError(
                f"The encoder {self._source} could not be loaded {location}: {error} "
                "Check the name, or give the path of a folder that holds the model."
            ) from error
        finally:
            if has_progress_bars:
                logging.enable_progress_bar()  # type: ignore[no-untyped-call]

    def _refuse_pickles(self) -> None:
        """Raises ApprenticeError if a module after the transformer has its weights in a pickle only: `use_safetensors`
        holds for the transformer alone."""
        for module in self._json("modules.json") or []:
            folder = module["path"]
            if folder and self._file(f"{folder}/pytorch_model.bin") and not self._file(f"{folder}/model.safetensors"):
                raise ApprenticeError(
                    f"The encoder {self._source} has weights in {folder} that only unpickling could read, which is "
                    "never done here. Convert them to safetensors, or choose another encoder."
                )

    def _file(self, name: str) -> str | None:
        """Returns the path of one file of the model, None if the model has none."""
        from transformers.utils.hub import cached_file

        try:
            return cached_file(self._path, name, local_files_only=self._is_local)
        except OSError:
            return None

    def _json(self, name: str) -> Any:
        try:
            path = self._file(name)
            return json.loads(Path(path).read_text(encoding="utf-8")) if path else None
        except (OSError, ValueError):
            return None

    def _configured_dim(self) -> int | None:
        for module in reversed(self._json("modules.json") or []):
            config = self._json(f"{module['path']}/config.json" if module["path"] else "config.json") or {}
            for key in ("out_features", "word_embedding_dimension", "embedding_dimension", "hidden_size"):
                if isinstance(config.get(key), int):
                    return int(config[key])
        return None


def _middle(n: int) -> Layers:
    """The two layers in the middle of n."""
    first = (n + 1) // 2
    return (first, first + 1) if first < n else (first,)


def _encode_words(
    transformer: Any, tokenizer: Any, texts: list[str], max_tokens: int | None, candidates: Sequence[Layers]
) -> list[list[WordVectors]]:
    """The words of some texts for each of the candidates; a long text is read in parts that overlap."""
    import torch

    max_tokens = max_tokens or DEFAULT_MAX_TOKENS
    encoded = tokenizer(
        texts, padding=True, truncation=True, max_length=max_tokens, stride=min(OVERLAP_TOKENS, max_tokens // 4),
        return_overflowing_tokens=True, return_offsets_mapping=True, return_tensors="pt",
    )  # fmt: skip
    text_of_part = encoded.pop("overflow_to_sample_mapping").tolist()
    offsets = encoded.pop("offset_mapping").tolist()
    states: list[list[Floats]] = [[] for _ in candidates]
    with torch.inference_mode():
        for start in range(0, len(offsets), BATCH_SIZE):
            batch = {
                name: tensor[start : start + BATCH_SIZE].to(transformer.device) for name, tensor in encoded.items()
            }
            layers = transformer(**batch, output_hidden_states=True).hidden_states
            for of_candidate, candidate in zip(states, candidates, strict=True):
                chosen = [layers[layer] for layer in candidate or _middle(len(layers) - 1)]
                of_candidate.extend(torch.stack(chosen).mean(dim=0).float().cpu().numpy())
    parts = [[part for part, row in enumerate(text_of_part) if row == text] for text in range(len(texts))]
    return [
        [
            word_vectors(text, [offsets[part] for part in of_text], [of_candidate[part] for part in of_text])
            for text, of_text in zip(texts, parts, strict=True)
        ]
        for of_candidate in states
    ]
