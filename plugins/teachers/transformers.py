"""The teacher on this machine: a causal language model or a text classifier, through transformers.

A label is scored by the likelihood of the answer that names it; the prompt is processed once for all labels (as in
Brown et al., "Language Models are Few-Shot Learners", arXiv 2005.14165, section 2.4). With several choices, a label is
scored by the likelihood of "yes" against "no". With several fields, a field is scored after the labels that the fields
before it got, as in a reply that the model writes. A classifier answers with its own labels if they are the project's,
or by entailment of "This text is about …" (Yin, Hay, Roth, EMNLP 2019). No text leaves the machine and no call costs
money.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ml_backend.core.arrays import Floats
from ml_backend.core.exceptions import TeacherUnavailableError
from ml_backend.core.teacher_types import Answer, LabelField, Question, TeacherOptions
from ml_backend.core.types import label_words
from plugins.teachers import chat_messages

HYPOTHESIS = "This text is about {}."


class TransformersTeacher:
    """`options.model`: a hub's name, a folder, or a `.gguf` file of a causal model. The model is loaded at the first
    question."""

    def __init__(self, options: TeacherOptions) -> None:
        self._model_name = options.model
        self._loaded: tuple[Any, Any] | None = None

    @property
    def name(self) -> str:
        return f"transformers:{Path(self._model_name).name if '/' in self._model_name else self._model_name}"

    def answer(self, questions: Sequence[Question]) -> Iterator[Answer]:
        """Yields the answers one after the other. Raises a fatal TeacherUnavailableError if the model cannot be
        loaded."""
        if not self._model_name:
            raise TeacherUnavailableError("The teacher has no model: set teacher_model.", fatal=True)
        model, tokenizer = self._load()
        is_classifier = "SequenceClassification" in type(model).__name__
        for question in {question.id: question for question in questions}.values():
            other_parts: Mapping[str, Any] = {}
            if not question.fields or question.value_fields:
                if is_classifier:
                    yield Answer(question.id, None, None, problem="A classifier can only label: it writes no texts.")
                    continue
                generated = _generated(model, tokenizer, question)
                if not question.fields or generated.content is None:
                    yield generated
                    continue
                other_parts = generated.content
            content: dict[str, Any] = {}
            shares: dict[str, Floats] = {}
            for field in question.fields:
                if is_classifier:
                    probabilities = _shares_by_classifier(model, tokenizer, question.text, field, self._model_name)
                else:
                    probabilities = _shares_by_likelihood(model, tokenizer, question, field, content)
                shares[field.name] = probabilities
                content[field.name] = _value(field, probabilities)
            yield Answer(question.id, {**other_parts, **content}, shares)

    def _load(self) -> tuple[Any, Any]:
        if self._loaded is None:
            import torch
            from transformers import (
                AutoConfig,
                AutoModelForCausalLM,
                AutoModelForSequenceClassification,
                AutoTokenizer,
            )
            from transformers.utils import logging

            # a worker has no terminal, and a progress bar starts a thread
            logging.disable_progress_bar()  # type: ignore[no-untyped-call]
            file_options: dict[str, Any] = {}
            weight_options: dict[str, Any] = {"use_safetensors": True}  # weights in another form would be unpickled
            source = self._model_name
            if source.endswith(".gguf"):
                file_options, weight_options = {"gguf_file": Path(source).name}, {}
                source = str(Path(source).parent)
            try:
                config = AutoConfig.from_pretrained(source, **file_options)
                architectures = " ".join(config.architectures or ())
                model_class = (
                    AutoModelForSequenceClassification if "SequenceClass" in architectures else AutoModelForCausalLM
                )
                tokenizer = AutoTokenizer.from_pretrained(source, **file_options)
                model = model_class.from_pretrained(source, dtype=torch.float32, **file_options, **weight_options)
            except (OSError, ValueError, ImportError, KeyError) as error:
                raise TeacherUnavailableError(
                    f"The model {self._model_name!r} cannot be loaded ({str(error).partition(chr(10))[0]}): set "
                    "teacher_model to a folder, a .gguf file or a hub's name of a causal language model or a text "
                    "classifier.",
                    fatal=True,
                ) from error
            self._loaded = (model.eval(), tokenizer)
        return self._loaded


def _value(field: LabelField, shares: Floats) -> str | list[str]:
    """Returns the label, or the list of labels, that a field gets from the shares (c,) of its labels."""
    names = np.array(field.labels)
    return list(names[shares >= 0.5].tolist()) if field.multiple else str(names[shares.argmax()])


def _prompt(tokenizer: Any, question: Question, reply_start: str) -> list[int]:
    """Returns the tokens of the conversation, with the start of its last message."""
    messages = [{"role": "system", "content": f"{question.instructions}\n\n{chat_messages.DATA}"}]
    for text, reply in question.examples:
        messages += [{"role": "user", "content": chat_messages.quoted(text)}, {"role": "assistant", "content": reply}]
    messages.append({"role": "user", "content": chat_messages.quoted(question.text)})
    if tokenizer.chat_template:
        conversation = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    else:
        conversation = "\n\n".join(str(message["content"]) for message in messages) + "\n\n"
    tokens: list[int] = tokenizer(conversation + reply_start, add_special_tokens=not tokenizer.chat_template)[
        "input_ids"
    ]
    return tokens


def _shares_by_likelihood(
    model: Any, tokenizer: Any, question: Question, field: LabelField, earlier: Mapping[str, Any]
) -> Floats:
    """Returns the shares (c,) of a field's labels from the likelihoods of the answers. `earlier`: the content of the
    reply in the fields before it."""
    if not field.multiple:
        separator = ", " if earlier else ""
        reply_start = f'{json.dumps(earlier, ensure_ascii=False)[:-1]}{separator}{_quoted(field.name)}: "'
        log_likelihoods = _log_likelihoods(
            model, tokenizer, _prompt(tokenizer, question, reply_start), [f'{label}"' for label in field.labels]
        )
        return _softmax(log_likelihoods)
    probabilities = []
    of_field = f" of {_quoted(field.name)}" if len(question.fields) > 1 else ""
    for label in field.labels:
        reply_start = f'Does the label "{label}"{of_field} hold for the text? Answer: '
        yes, no = _log_likelihoods(model, tokenizer, _prompt(tokenizer, question, reply_start), ["yes", "no"])
        probabilities.append(float(_softmax(np.array([yes, no]))[0]))
    return np.array(probabilities, np.float32)


def _quoted(name: str) -> str:
    return json.dumps(name, ensure_ascii=False)


def _with_room(model: Any, prompt: list[int], n_tokens: int) -> list[int]:
    """Returns the prompt with room for so many tokens after it. A prompt that is too long loses its beginning, and
    keeps the text."""
    max_positions = getattr(model.config, "max_position_embeddings", 0) or 0
    return prompt[-max(1, max_positions - n_tokens) :] if max_positions else prompt


def _log_likelihoods(model: Any, tokenizer: Any, prompt: list[int], answers: Sequence[str]) -> np.ndarray[Any, Any]:
    """Returns the log-probability (m,) of each answer after the prompt, which is processed once."""
    import copy

    import torch

    answer_tokens = [tokenizer(answer, add_special_tokens=False)["input_ids"] for answer in answers]
    prompt = _with_room(model, prompt, max(map(len, answer_tokens)))
    with torch.no_grad():
        output = model(torch.tensor([prompt]), use_cache=True)
        first_log_probabilities = torch.log_softmax(output.logits[0, -1].float(), dim=-1)
        log_likelihoods = []
        for answer in answer_tokens:
            log_likelihood = float(first_log_probabilities[answer[0]])
            if len(answer) > 1:
                continuation = model(torch.tensor([answer[:-1]]), past_key_values=copy.deepcopy(output.past_key_values))
                log_probabilities = torch.log_softmax(continuation.logits[0].float(), dim=-1)
                log_likelihood += float(
                    log_probabilities[torch.arange(len(answer) - 1), torch.tensor(answer[1:])].sum()
                )
            log_likelihoods.append(log_likelihood)
    return np.array(log_likelihoods)


def _softmax(log_likelihoods: np.ndarray[Any, Any]) -> Floats:
    exponentials = np.exp(log_likelihoods - log_likelihoods.max())
    return np.asarray(exponentials / exponentials.sum(), np.float32)


def _shares_by_classifier(model: Any, tokenizer: Any, text: str, field: LabelField, name: str) -> Floats:
    """Returns the shares (c,) of a field's labels by the classifier's own labels, or by entailment. Raises a fatal
    TeacherUnavailableError if the classifier has neither the field's labels nor a label "entailment". `name`: the
    model's name."""
    import torch

    text = text.encode("utf-8", "replace").decode() or " "
    index_by_label = {label_words(str(label)).lower(): index for index, label in model.config.id2label.items()}
    labels = [label_words(label).lower() for label in field.labels]
    with torch.no_grad():
        if all(label in index_by_label for label in labels):
            inputs = tokenizer(text, return_tensors="pt", truncation=True)
            logits = model(**inputs).logits[0].float()[torch.tensor([index_by_label[label] for label in labels])]
            shares = torch.sigmoid(logits) if field.multiple else torch.softmax(logits, dim=0)
            return np.asarray(shares.numpy(), np.float32)
        if "entailment" not in index_by_label:
            raise TeacherUnavailableError(
                f"The classifier {name!r} has other labels than the project ({', '.join(index_by_label)}): set "
                "teacher_model to one that has them, or to a model of entailment.",
                fatal=True,
            )
        logits_by_label = []
        for label in labels:
            inputs = tokenizer(text, HYPOTHESIS.format(label), return_tensors="pt", truncation="only_first")
            logits_by_label.append(model(**inputs).logits[0].float())
        logits = torch.stack(logits_by_label)
        if not field.multiple:
            return np.asarray(torch.softmax(logits[:, index_by_label["entailment"]], dim=0).numpy(), np.float32)
        contradiction = index_by_label.get("contradiction", index_by_label.get("not entailment", 0))
        pair = torch.softmax(logits[:, [index_by_label["entailment"], contradiction]], dim=1)
        return np.asarray(pair[:, 0].numpy(), np.float32)


def _generated(model: Any, tokenizer: Any, question: Question) -> Answer:
    """Returns the answer from the reply of greedy decoding; without content if the reply does not satisfy the
    question's schema."""
    import torch

    prompt = _with_room(model, _prompt(tokenizer, question, "{"), question.longest)
    with torch.no_grad():
        ids = model.generate(
            torch.tensor([prompt]),
            attention_mask=torch.ones(1, len(prompt), dtype=torch.long),
            max_new_tokens=question.longest,
            do_sample=False,
            pad_token_id=tokenizer.eos_token_id,
        )
    text = "{" + tokenizer.decode(ids[0, len(prompt) :], skip_special_tokens=True)
    end = _end_of_object(text)
    reply = {"choices": [{"message": {"content": text[:end]}, "finish_reason": "stop"}]}
    reading = chat_messages.read(question, reply)
    return Answer(question.id, reading.content, None, problem=reading.problem)


def _end_of_object(text: str) -> int:
    """Returns the index after the JSON object that the text begins with; the text's length if the object does not
    end."""
    try:
        return json.JSONDecoder().raw_decode(text)[1]
    except ValueError:
        return len(text)
