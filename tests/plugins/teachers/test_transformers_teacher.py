"""The teacher on this machine, with tiny models that the tests create: its answers are the model's probabilities."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from scripted_server import KEY, list_question, question
from teacher_contract import TeacherContract
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
)

from ml_backend.core.exceptions import TeacherUnavailableError
from ml_backend.core.ports import Teacher
from ml_backend.core.teacher_types import TeacherOptions
from ml_backend.core.types import label_words
from plugins.teachers.transformers import TransformersTeacher, _log_likelihoods, _prompt


def save_tokenizer(folder: Path) -> PreTrainedTokenizerFast:
    """Every byte is a token."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {character: number for number, character in enumerate(["<pad>", "<eos>", *alphabet])}
    bare = Tokenizer(models.BPE(vocab=vocabulary, merges=[], unk_token=None))
    bare.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer = PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=bare, eos_token="<eos>", pad_token="<pad>", model_max_length=4096
    )
    tokenizer.save_pretrained(folder)
    return tokenizer


@pytest.fixture(scope="module")
def causal(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("causal")
    torch.manual_seed(0)
    size = len(save_tokenizer(folder))
    config = LlamaConfig(
        vocab_size=size, hidden_size=16, intermediate_size=16, num_hidden_layers=2, num_attention_heads=2,
        max_position_embeddings=2048, bos_token_id=None, eos_token_id=1, pad_token_id=0, initializer_range=0.5,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


def classifier(folder: Path, labels: list[str]) -> TransformersTeacher:
    torch.manual_seed(1)
    config = BertConfig(
        vocab_size=len(save_tokenizer(folder)), hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=16, max_position_embeddings=512, id2label=dict(enumerate(labels)), initializer_range=0.5,
    )  # fmt: skip
    BertForSequenceClassification(config).save_pretrained(folder)
    tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
    tokenizer.model_max_length = 512
    tokenizer.save_pretrained(folder)
    return TransformersTeacher(TeacherOptions(model=str(folder), key=KEY))


class TestACausalModel(TeacherContract):
    @pytest.fixture
    def teacher(self, causal: Path) -> Iterator[Teacher]:
        yield TransformersTeacher(TeacherOptions(model=str(causal), key=KEY))


class TestAClassifier(TeacherContract):
    @pytest.fixture
    def teacher(self, tmp_path: Path) -> Iterator[Teacher]:
        yield classifier(tmp_path, list(question().labels))


def test_weights_that_only_unpickling_could_read_are_refused(causal: Path, tmp_path: Path) -> None:
    folder = tmp_path / "pickled"
    shutil.copytree(causal, folder)
    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    torch.save(weights, folder / "pytorch_model.bin")
    with pytest.raises(TeacherUnavailableError, match="cannot be loaded") as refusal:
        list(TransformersTeacher(TeacherOptions(model=str(folder))).answer([question()]))
    assert refusal.value.fatal


def test_a_label_has_the_probability_of_its_letters_one_after_the_other(causal: Path) -> None:
    """Compared with one pass over prompt and answer, without a cache."""
    teacher = TransformersTeacher(TeacherOptions(model=str(causal)))
    model, tokenizer = teacher._load()
    asked = question()
    prompt = _prompt(tokenizer, asked, '{"label": "')
    answers = [f'{label}"' for label in asked.labels]
    log_likelihoods = _log_likelihoods(model, tokenizer, prompt, answers)
    expected = []
    for text in answers:
        tokens = tokenizer(text, add_special_tokens=False)["input_ids"]
        with torch.no_grad():
            log_probabilities = torch.log_softmax(model(torch.tensor([prompt + tokens])).logits[0], dim=-1)
        expected.append(sum(float(log_probabilities[len(prompt) - 1 + n, token]) for n, token in enumerate(tokens)))
    assert log_likelihoods == pytest.approx(expected, abs=1e-3)
    (answer,) = teacher.answer([asked])
    shares = np.exp(np.array(expected) - max(expected))
    assert answer.shares == pytest.approx(shares / shares.sum(), abs=1e-3)
    assert answer.calls == ()


def test_of_several_labels_each_is_asked_for_by_itself(causal: Path) -> None:
    teacher = TransformersTeacher(TeacherOptions(model=str(causal)))
    asked = list_question()
    (answer,) = teacher.answer([asked])
    assert answer.content is not None and answer.shares is not None
    assert answer.content[asked.field] == [
        label for label, share in zip(asked.labels, answer.shares, strict=True) if share >= 0.5
    ]


def test_a_prompt_that_is_too_long_keeps_its_end(causal: Path) -> None:
    (answer,) = TransformersTeacher(TeacherOptions(model=str(causal))).answer([question(text="word " * 3000)])
    assert answer.shares is not None and np.isfinite(answer.shares).all()


def test_a_classifier_answers_with_its_own_labels_in_the_projects_order(tmp_path: Path) -> None:
    asked = question()
    teacher = classifier(tmp_path, [*reversed(asked.labels), "something else"])
    model, tokenizer = teacher._load()
    with torch.no_grad():
        logits = model(**tokenizer(asked.text, return_tensors="pt")).logits[0][: len(asked.labels)]
    (answer,) = teacher.answer([asked])
    assert answer.shares == pytest.approx(torch.softmax(logits, dim=0).flip(0).numpy(), abs=1e-5)


@pytest.mark.parametrize("multiple", [False, True])
def test_a_model_of_entailment_answers_for_any_labels(tmp_path: Path, multiple: bool) -> None:
    asked = list_question() if multiple else question()
    teacher = classifier(tmp_path, ["CONTRADICTION", "NEUTRAL", "ENTAILMENT"])
    model, tokenizer = teacher._load()
    expected: list[Any] = []
    for label in asked.labels:
        with torch.no_grad():
            inputs = tokenizer(asked.text, f"This text is about {label_words(label)}.", return_tensors="pt")
            expected.append(model(**inputs).logits[0])
    logits = torch.stack(expected)
    shares = torch.softmax(logits[:, [2, 0]], dim=1)[:, 0] if multiple else torch.softmax(logits[:, 2], dim=0)
    (answer,) = teacher.answer([asked])
    assert answer.shares == pytest.approx(shares.numpy(), abs=1e-4)


def test_a_classifier_of_other_labels_names_them_in_the_error(tmp_path: Path) -> None:
    with pytest.raises(TeacherUnavailableError, match=r"positive, negative.*teacher_model") as error:
        list(classifier(tmp_path, ["positive", "negative"]).answer([question()]))
    assert error.value.fatal


@pytest.mark.parametrize("model", ["", "/no/such/folder", "/no/such/file.gguf"])
def test_a_model_that_cannot_be_loaded_names_the_setting(model: str) -> None:
    with pytest.raises(TeacherUnavailableError, match="teacher_model") as error:
        list(TransformersTeacher(TeacherOptions(model=model)).answer([question()]))
    assert error.value.fatal
