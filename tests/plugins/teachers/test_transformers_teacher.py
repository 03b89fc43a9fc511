"""The teacher on this machine, with tiny models that the tests create: its answers are the model's probabilities."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from safetensors.torch import load_file
from scripted_server import KEY, list_question, only_shares, question, two_field_question
from teacher_contract import TeacherContract
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BertConfig,
    BertForSequenceClassification,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
)

from ml_backend.core.exceptions import TeacherUnavailableError
from ml_backend.core.ports import Teacher
from ml_backend.core.teacher_types import Answer, LabelField, Question, TeacherOptions, ValueField
from ml_backend.core.types import label_words
from plugins.teachers import transformers as transformers_teacher
from plugins.teachers.chat_messages import DATA, quoted
from plugins.teachers.transformers import TransformersTeacher


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


def load_classifier(folder: Path) -> tuple[Any, Any]:
    model = AutoModelForSequenceClassification.from_pretrained(folder)
    return model, AutoTokenizer.from_pretrained(folder)


class TestACausalModel(TeacherContract):
    @pytest.fixture
    def teacher(self, causal: Path) -> Iterator[Teacher]:
        yield TransformersTeacher(TeacherOptions(model=str(causal), key=KEY))


class TestAClassifier(TeacherContract):
    @pytest.fixture
    def teacher(self, tmp_path: Path) -> Iterator[Teacher]:
        yield classifier(tmp_path, list(question().fields[0].labels))


def test_weights_that_only_unpickling_could_read_are_refused(causal: Path, tmp_path: Path) -> None:
    folder = tmp_path / "pickled"
    shutil.copytree(causal, folder)
    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    torch.save(weights, folder / "pytorch_model.bin")
    with pytest.raises(TeacherUnavailableError, match="cannot be loaded") as refusal:
        list(TransformersTeacher(TeacherOptions(model=str(folder))).answer([question()]))
    assert refusal.value.fatal


def log_likelihood(folder: Path, prompt: str, answer: str) -> float:
    """The log-probability of an answer after a prompt, from one pass over both, without a cache."""
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModelForCausalLM.from_pretrained(folder)
    prompt_tokens, answer_tokens = (tokenizer(text, add_special_tokens=False)["input_ids"] for text in (prompt, answer))
    with torch.no_grad():
        log_probabilities = torch.log_softmax(model(torch.tensor([prompt_tokens + answer_tokens])).logits[0], dim=-1)
    return sum(float(log_probabilities[len(prompt_tokens) - 1 + n, token]) for n, token in enumerate(answer_tokens))


def shares_of(log_likelihoods: Sequence[float]) -> npt.NDArray[Any]:
    shares = np.exp(np.array(log_likelihoods) - max(log_likelihoods))
    return np.asarray(shares / shares.sum())


def plain_prompt(asked: Question, reply_start: str) -> str:
    """The conversation of a question without examples, for a model without a chat template."""
    return f"{asked.instructions}\n\n{DATA}\n\n{quoted(asked.text)}\n\n{reply_start}"


def test_the_share_of_a_label_is_the_likelihood_of_the_reply_that_names_it(causal: Path) -> None:
    asked = question()
    prompt = plain_prompt(asked, '{"label": "')
    (answer,) = TransformersTeacher(TeacherOptions(model=str(causal))).answer([asked])
    expected = shares_of([log_likelihood(causal, prompt, f'{label}"') for label in asked.fields[0].labels])
    assert answer.shares is not None
    assert np.log(only_shares(answer)) == pytest.approx(np.log(expected), abs=0.01)
    assert answer.content == {"label": asked.fields[0].labels[int(expected.argmax())]}
    assert answer.calls == ()


def test_with_several_choices_the_share_of_a_label_is_the_likelihood_of_yes_against_no(causal: Path) -> None:
    asked = list_question()
    (answer,) = TransformersTeacher(TeacherOptions(model=str(causal))).answer([asked])
    expected = []
    for label in asked.fields[0].labels:
        prompt = plain_prompt(asked, f'Does the label "{label}" hold for the text? Answer: ')
        expected.append(shares_of([log_likelihood(causal, prompt, word) for word in ("yes", "no")])[0])
    assert answer.shares is not None
    assert np.log(only_shares(answer)) == pytest.approx(np.log(expected), abs=0.01)
    pairs = zip(asked.fields[0].labels, expected, strict=True)
    assert answer.content == {"labels": [label for label, share in pairs if share >= 0.5]}


def test_each_of_several_fields_is_scored_after_the_labels_of_the_fields_before_it(causal: Path) -> None:
    asked = two_field_question()
    asked = replace(asked, fields=(*asked.fields, LabelField("mood", ("good", "bad"))))
    (answer,) = TransformersTeacher(TeacherOptions(model=str(causal))).answer([asked])
    assert answer.content is not None and answer.shares is not None
    size, tone, mood = asked.fields
    prompt = plain_prompt(asked, '{"Größe": "')
    expected = shares_of([log_likelihood(causal, prompt, f'{label}"') for label in size.labels])
    assert np.log(answer.shares["Größe"]) == pytest.approx(np.log(expected), abs=0.01)
    prompt = plain_prompt(asked, f'Does the label "{tone.labels[0]}" of "tone" hold for the text? Answer: ')
    expected = shares_of([log_likelihood(causal, prompt, word) for word in ("yes", "no")])
    assert np.log(answer.shares["tone"][0]) == pytest.approx(np.log(expected[0]), abs=0.01)
    earlier = json.dumps({name: answer.content[name] for name in ("Größe", "tone")}, ensure_ascii=False)
    prompt = plain_prompt(asked, f'{earlier[:-1]}, "mood": "')
    expected = shares_of([log_likelihood(causal, prompt, f'{label}"') for label in mood.labels])
    assert np.log(answer.shares["mood"]) == pytest.approx(np.log(expected), abs=0.01)
    assert answer.content["mood"] == mood.labels[int(expected.argmax())]


def test_a_chat_template_frames_the_messages_of_the_conversation(causal: Path, tmp_path: Path) -> None:
    folder = tmp_path / "chat"
    shutil.copytree(causal, folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.chat_template = (
        "{% for message in messages %}[{{ message.role }}]{{ message.content }}{% endfor %}"
        "{% if add_generation_prompt %}[assistant]{% endif %}"
    )
    tokenizer.save_pretrained(folder)
    asked = question(examples=(("an earlier text", '{"label": "a"}'),))
    prompt = (
        f"[system]{asked.instructions}\n\n{DATA}[user]{quoted('an earlier text')}[assistant]"
        f'{{"label": "a"}}[user]{quoted(asked.text)}[assistant]{{"label": "'
    )
    (answer,) = TransformersTeacher(TeacherOptions(model=str(folder))).answer([asked])
    expected = shares_of([log_likelihood(folder, prompt, f'{label}"') for label in asked.fields[0].labels])
    assert answer.shares is not None
    assert np.log(only_shares(answer)) == pytest.approx(np.log(expected), abs=0.01)
    (plain,) = TransformersTeacher(TeacherOptions(model=str(causal))).answer([asked])
    assert plain.shares is not None
    assert np.abs(np.log(only_shares(answer)) - np.log(only_shares(plain))).max() > 1, "the template makes a difference"


def test_a_prompt_that_is_too_long_keeps_its_end(causal: Path) -> None:
    (answer,) = TransformersTeacher(TeacherOptions(model=str(causal))).answer([question(text="word " * 3000)])
    assert answer.shares is not None and np.isfinite(only_shares(answer)).all()


def test_a_classifier_answers_with_its_own_labels_in_the_projects_order(tmp_path: Path) -> None:
    asked = question()
    teacher = classifier(tmp_path, [*reversed(asked.fields[0].labels), "something else"])
    model, tokenizer = load_classifier(tmp_path)
    with torch.no_grad():
        logits = model(**tokenizer(asked.text, return_tensors="pt")).logits[0][: len(asked.fields[0].labels)]
    (answer,) = teacher.answer([asked])
    assert only_shares(answer) == pytest.approx(torch.softmax(logits, dim=0).flip(0).numpy(), abs=1e-5)


def test_a_classifier_gives_each_of_several_labels_a_probability_of_its_own(tmp_path: Path) -> None:
    asked = list_question()
    teacher = classifier(tmp_path, list(asked.fields[0].labels))
    model, tokenizer = load_classifier(tmp_path)
    with torch.no_grad():
        logits = model(**tokenizer(asked.text, return_tensors="pt")).logits[0]
    (answer,) = teacher.answer([asked])
    assert only_shares(answer) == pytest.approx(torch.sigmoid(logits).numpy(), abs=1e-5)
    pairs = zip(asked.fields[0].labels, logits.tolist(), strict=True)
    assert answer.content == {"labels": [label for label, logit in pairs if logit >= 0]}


@pytest.mark.parametrize("multiple", [False, True])
def test_a_model_of_entailment_answers_for_any_labels(tmp_path: Path, multiple: bool) -> None:
    asked = list_question() if multiple else question()
    teacher = classifier(tmp_path, ["CONTRADICTION", "NEUTRAL", "ENTAILMENT"])
    model, tokenizer = load_classifier(tmp_path)
    expected: list[Any] = []
    for label in asked.fields[0].labels:
        with torch.no_grad():
            inputs = tokenizer(asked.text, f"This text is about {label_words(label)}.", return_tensors="pt")
            expected.append(model(**inputs).logits[0])
    logits = torch.stack(expected)
    shares = torch.softmax(logits[:, [2, 0]], dim=1)[:, 0] if multiple else torch.softmax(logits[:, 2], dim=0)
    (answer,) = teacher.answer([asked])
    assert only_shares(answer) == pytest.approx(shares.numpy(), abs=1e-4)


def test_a_classifier_of_other_labels_names_them_in_the_error(tmp_path: Path) -> None:
    with pytest.raises(TeacherUnavailableError, match=r"positive, negative.*teacher_model") as error:
        list(classifier(tmp_path, ["positive", "negative"]).answer([question()]))
    assert error.value.fatal


@pytest.mark.parametrize("model", ["", "/no/such/folder", "/no/such/file.gguf"])
def test_a_model_that_cannot_be_loaded_names_the_setting(model: str) -> None:
    with pytest.raises(TeacherUnavailableError, match="teacher_model") as error:
        list(TransformersTeacher(TeacherOptions(model=model)).answer([question()]))
    assert error.value.fatal


def mixed_question() -> Question:
    """A question for a label and a text."""
    asked = question()
    reply = {**asked.reply, "properties": {**asked.reply["properties"], "remark": {"type": "string"}}}
    return replace(asked, reply=reply, value_fields=(ValueField("remark", "a digest"),))


def test_a_label_is_scored_and_the_other_part_of_the_reply_is_written(
    causal: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, alone = mixed_question(), question()
    other_label = asked.fields[0].labels[-1]
    written = Answer(asked.id, {"label": other_label, "remark": "a remark"}, None)
    monkeypatch.setattr(transformers_teacher, "_generated", lambda *_: written)
    teacher = TransformersTeacher(TeacherOptions(model=str(causal)))
    [answer], [label_alone] = teacher.answer([asked]), teacher.answer([alone])
    assert label_alone.content is not None and answer.content == {**label_alone.content, "remark": "a remark"}
    assert answer.shares is not None and only_shares(answer).tolist() == only_shares(label_alone).tolist()


def test_without_the_part_that_is_written_there_is_no_answer(causal: Path, tmp_path: Path) -> None:
    [answer] = TransformersTeacher(TeacherOptions(model=str(causal))).answer([mixed_question()])
    assert answer.content is None and answer.problem, "a model with random weights writes no JSON"
    [refused] = classifier(tmp_path, [*question().fields[0].labels]).answer([mixed_question()])
    assert refused.content is None and "writes no texts" in refused.problem


def test_a_long_text_leaves_room_for_the_part_that_is_written(causal: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    teacher = TransformersTeacher(TeacherOptions(model=str(causal)))
    model, _ = teacher._load()
    monkeypatch.setattr(model.config, "max_position_embeddings", 100)
    lengths: list[int] = []
    generate = model.generate

    def record(ids: torch.Tensor, **rest: Any) -> Any:
        lengths.append(ids.shape[1] + rest["max_new_tokens"])
        return generate(ids, **rest)

    monkeypatch.setattr(model, "generate", record)
    [_] = teacher.answer([replace(mixed_question(), text="word " * 500)])
    assert lengths == [100]
