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

from ml_backend.core.exceptions import ApprenticeError
from ml_backend.core.types import Floats
from plugins.encoders.word_sketch import WordSketch

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

BATCH = 32


class SentenceEncoder:
    """`model` is a folder or a name on the Hugging Face hub. A folder is read without any attempt at the network.

    Thread-safe. Everything but `name` raises ApprenticeError if the model cannot be found or read.
    """

    def __init__(self, model: str) -> None:
        self._source = model
        self._local = Path(model).expanduser().is_dir()
        self._path = str(Path(model).expanduser().resolve()) if self._local else model
        self._lock = threading.Lock()
        self._model: SentenceTransformer | None = None
        self._sketch: WordSketch | None = None
        self._dim: int | None = None

    @property
    def name(self) -> str:
        """The model's name, made safe; a folder's ends in a digest of its path, as folders often share a name."""
        if not self._local:
            return re.sub(r"[^\w.-]+", "--", self._source).strip(".-") or "model"
        digest = hashlib.sha256(self._path.encode()).hexdigest()[:8]
        return re.sub(r"[^\w.-]+", "-", Path(self._path).name) + "-" + digest

    @property
    def quick(self) -> bool:
        return False

    @property
    def dim(self) -> int:
        """From the configuration files where they say it, else (an unusual model) from the loaded model."""
        if self._dim is None:
            with self._lock:  # two threads that import transformers for the first time get in each other's way
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
        """(n, dim) float32 of unit length, in the order of `texts`; sentence-transformers batches them by length."""
        model = self._loaded()
        vectors = model.encode(
            list(texts), batch_size=BATCH, show_progress_bar=False, normalize_embeddings=True, convert_to_numpy=True
        )
        return np.asarray(vectors, dtype=np.float32).reshape(len(texts), -1 if len(texts) else self.dim)

    def sketch(self, texts: Sequence[str]) -> Floats:
        """(n, d') float32 of unit length from the word vectors. Raises ApprenticeError for a model without any."""
        model = self._loaded()
        with self._lock:
            if self._sketch is None:
                self._sketch = self._make_sketch(model)
        return self._sketch(texts)

    def _make_sketch(self, model: SentenceTransformer) -> WordSketch:
        from tokenizers import Tokenizer

        try:
            first: Any = model[0]
            words = first.auto_model.get_input_embeddings().weight.detach().float().cpu().numpy()
            tokenizer = Tokenizer.from_str(model.tokenizer.backend_tokenizer.to_str())  # a copy: its settings change
        except (AttributeError, NotImplementedError) as error:
            raise ApprenticeError(
                f"The encoder {self._source} has no word vectors or no fast tokenizer, so it cannot sketch texts. "
                "Choose a transformer with a fast tokenizer."
            ) from error
        return WordSketch(words, tokenizer)

    def _loaded(self) -> SentenceTransformer:
        with self._lock:
            if self._model is None:
                self._model = self._load()
            return self._model

    def _load(self) -> SentenceTransformer:
        from sentence_transformers import SentenceTransformer
        from transformers.utils import logging

        bars = logging.is_progress_bar_enabled()
        logging.disable_progress_bar()  # type: ignore[no-untyped-call]
        self._refuse_pickles()
        try:
            safe = {"use_safetensors": True}  # weights in any other form would be unpickled
            return SentenceTransformer(self._path, local_files_only=self._local, model_kwargs=safe)
        except (OSError, ValueError, RuntimeError) as error:
            where = "from that folder" if self._local else "from the Hugging Face hub or its cache"
            raise ApprenticeError(
                f"The encoder {self._source} could not be loaded {where}: {error} "
                "Check the name, or give the path of a folder that holds the model."
            ) from error
        finally:
            if bars:
                logging.enable_progress_bar()  # type: ignore[no-untyped-call]

    def _refuse_pickles(self) -> None:
        """`use_safetensors` holds for the transformer alone; the modules after it would fall back to a pickle."""
        for module in self._json("modules.json") or []:
            folder = module["path"]
            if folder and self._file(f"{folder}/pytorch_model.bin") and not self._file(f"{folder}/model.safetensors"):
                raise ApprenticeError(
                    f"The encoder {self._source} has weights in {folder} that only unpickling could read, which is "
                    "never done here. Convert them to safetensors, or choose another encoder."
                )

    def _file(self, name: str) -> str | None:
        """Where one file of the model lies, None if it has none."""
        from transformers.utils.hub import cached_file

        try:
            return cached_file(self._path, name, local_files_only=self._local)
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
