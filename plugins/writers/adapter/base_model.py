"""Loads a language model by a hub's name, from a folder, or from a `.gguf` file. Weights are never unpickled."""

from __future__ import annotations

import json
import shutil
import tempfile
from dataclasses import dataclass
from hashlib import file_digest, sha256
from pathlib import Path
from typing import Any

from ml_backend.core.exceptions import ApprenticeError

CAUSAL_SUFFIXES = ("ForCausalLM", "LMHeadModel")
"""Ends of the names of architectures that continue a text."""
UNLIMITED = 10**9  # tokens: longer prompts than models take are left out elsewhere
HUB_FILES = ["*.json", "*.safetensors", "*.model", "*.txt", "*.jinja"]


@dataclass(frozen=True, slots=True)
class BaseModel:
    """A loaded language model, in float32 on `device`.

    name     as it was given to `load_base`
    digest   the SHA-256 of the weights
    """

    model: Any
    tokenizer: Any
    name: str
    digest: str
    device: str

    @property
    def is_seq2seq(self) -> bool:
        return bool(self.model.config.is_encoder_decoder)

    @property
    def end_tokens(self) -> frozenset[int]:
        """The tokens that end a text."""
        of_config = getattr(self.model.generation_config, "eos_token_id", None)
        ids = of_config if isinstance(of_config, list) else [of_config]
        return frozenset(token for token in (*ids, self.tokenizer.eos_token_id) if token is not None)


def load_base(name: str, cache: Path) -> BaseModel:
    """Loads a model and its tokenizer, on a GPU if there is one.

    name   a name on the Hugging Face hub, a folder, or a `.gguf` file, which is converted once
    cache  the folder for converted models

    Raises ApprenticeError if the model cannot be found or read, or is no such language model.
    """
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSeq2SeqLM, AutoTokenizer
    from transformers.utils import logging

    logging.disable_progress_bar()  # type: ignore[no-untyped-call]  # a worker has no terminal
    if not name:
        raise ApprenticeError("No language model is named: name a folder, a .gguf file or a hub's name.")
    try:
        folder, digest = _folder_of(name, cache)
        config = AutoConfig.from_pretrained(folder)
        architectures = config.architectures or ()
        if not config.is_encoder_decoder and not any(a.endswith(CAUSAL_SUFFIXES) for a in architectures):
            raise ValueError(f"its architecture is {', '.join(architectures) or 'unknown'}")
        model_class = AutoModelForSeq2SeqLM if config.is_encoder_decoder else AutoModelForCausalLM
        model: Any = model_class.from_pretrained(folder, dtype=torch.float32, use_safetensors=True)
        tokenizer = AutoTokenizer.from_pretrained(folder, model_max_length=UNLIMITED)
    except (OSError, ValueError, ImportError, KeyError) as error:
        raise ApprenticeError(
            f"The language model {name!r} cannot be loaded ({str(error).partition(chr(10))[0]}): name a folder, "
            "a .gguf file or a hub's name of a causal or a sequence-to-sequence language model."
        ) from error
    device = "cuda" if torch.cuda.is_available() else "cpu"
    return BaseModel(model.to(device).eval(), tokenizer, name, digest, device)


def _folder_of(name: str, cache: Path) -> tuple[Path, str]:
    """The folder with the model in the format of transformers, and the SHA-256 of the weights."""
    path = Path(name).expanduser()
    if path.suffix == ".gguf":
        digest = _file_digest(path)
        folder = cache / f"gguf-{digest[:16]}"
        if not folder.exists():
            _convert(path, folder)
        return folder, digest
    if not path.is_dir():
        from huggingface_hub import snapshot_download

        path = Path(snapshot_download(name, allow_patterns=HUB_FILES))
    weights = sorted(path.glob("*.safetensors"))
    if not weights:
        raise ValueError("it has no weights in the format safetensors")
    return path, sha256(json.dumps([_file_digest(file) for file in weights]).encode()).hexdigest()


def _convert(file: Path, folder: Path) -> None:
    """Writes the model of a `.gguf` file to a folder, which appears when it is complete."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    options = {"gguf_file": file.name}
    loaded = AutoModelForCausalLM.from_pretrained(file.parent, dtype=torch.float32, **options)
    config = loaded.config
    if hasattr(config, "quantization_config"):  # transformers refuses to save a model with one
        del config.quantization_config
    fresh = AutoModelForCausalLM.from_config(config, dtype=torch.float32)  # type: ignore[no-untyped-call]
    fresh.load_state_dict(loaded.state_dict())
    fresh.generation_config = loaded.generation_config
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=folder.parent, prefix="converting-"))
    try:
        fresh.save_pretrained(temporary)
        AutoTokenizer.from_pretrained(file.parent, **options).save_pretrained(temporary)
        temporary.rename(folder)
    except OSError:
        if not folder.exists():  # another process may have converted the same file
            raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _file_digest(file: Path) -> str:
    with file.open("rb") as content:
        return file_digest(content, "sha256").hexdigest()
