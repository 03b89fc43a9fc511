"""The teacher on this machine: a causal language model or a text classifier, through transformers.

A label is scored by the likelihood of the answer that names it, all labels after one reading of the prompt (as in
Brown et al., "Language Models are Few-Shot Learners", arXiv 2005.14165, section 2.4); with several choices, by that of
"yes" against "no". A classifier answers with its own labels if they are the project's, or by entailment of "This text
is about …" (Yin, Hay, Roth, EMNLP 2019). Nothing leaves the machine and nothing is paid.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ml_backend.core.exceptions import TeacherUnavailableError
from ml_backend.core.teacher_types import Answer, Question, TeacherOptions
from ml_backend.core.types import Floats, tidy
from plugins.teachers import chat_messages

HYPOTHESIS = "This text is about {}."


class TransformersTeacher:
    """`options.model`: a hub's name, a folder, or a `.gguf` file of a causal model. Loaded at the first question."""

    def __init__(self, options: TeacherOptions) -> None:
        self._model_name = options.model
        self._loaded: tuple[Any, Any] | None = None

    @property
    def name(self) -> str:
        return f"transformers:{Path(self._model_name).name if '/' in self._model_name else self._model_name}"

    def answer(self, questions: Sequence[Question]) -> Iterator[Answer]:
        """Answers one after the other. Raises a fatal TeacherUnavailableError if the model cannot be loaded."""
        if not self._model_name:
            raise TeacherUnavailableError("The teacher has no model: set teacher_model.", fatal=True)
        model, tokenizer = self._load()
        classifies = "SequenceClassification" in type(model).__name__
        for question in {question.id: question for question in questions}.values():
            if classifies and question.field:
                shares = _classified(model, tokenizer, question, self._model_name)
            elif classifies:
                yield Answer(question.id, None, None, problem="A classifier can only label: it writes no texts.")
                continue
            elif question.field:
                shares = _scored(model, tokenizer, question)
            else:
                yield _written(model, tokenizer, question)
                continue
            yield Answer(question.id, _content(question, shares), shares)

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

            # nobody looks at a worker, and a bar has a thread of its own
            logging.disable_progress_bar()  # type: ignore[no-untyped-call]
            where: dict[str, Any] = {}
            source = self._model_name
            if source.endswith(".gguf"):
                where, source = {"gguf_file": Path(source).name}, str(Path(source).parent)
            try:
                config = AutoConfig.from_pretrained(source, **where)
                kinds = " ".join(config.architectures or ())
                kind = AutoModelForSequenceClassification if "SequenceClass" in kinds else AutoModelForCausalLM
                tokenizer = AutoTokenizer.from_pretrained(source, **where)
                model = kind.from_pretrained(source, dtype=torch.float32, **where)
            except (OSError, ValueError, ImportError, KeyError) as error:
                raise TeacherUnavailableError(
                    f"The model {self._model_name!r} cannot be loaded ({str(error).partition(chr(10))[0]}): set "
                    "teacher_model to a folder, a .gguf file or a hub's name of a causal language model or a text "
                    "classifier",
                    fatal=True,
                ) from error
            self._loaded = (model.eval(), tokenizer)
        return self._loaded


def _content(question: Question, shares: Floats) -> dict[str, Any]:
    names = np.array(question.labels)
    if question.multiple:
        return {question.field: names[shares >= 0.5].tolist()}
    return {question.field: str(names[shares.argmax()])}


def _prompt(tokenizer: Any, question: Question, begun: str) -> list[int]:
    """The tokens of the conversation, its last message begun already."""
    messages = [{"role": "system", "content": f"{question.instructions}\n\n{chat_messages.DATA}"}]
    for text, right in question.examples:
        messages += [{"role": "user", "content": chat_messages.quoted(text)}, {"role": "assistant", "content": right}]
    messages.append({"role": "user", "content": chat_messages.quoted(question.text)})
    if tokenizer.chat_template:
        written = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    else:
        written = "\n\n".join(str(each["content"]) for each in messages) + "\n\n"
    tokens: list[int] = tokenizer(written + begun, add_special_tokens=not tokenizer.chat_template)["input_ids"]
    return tokens


def _scored(model: Any, tokenizer: Any, question: Question) -> Floats:
    """(c,) shares from the likelihoods of the answers."""
    if not question.multiple:
        begun = f'{{"{question.field}": "'
        logs = _likelihoods(model, tokenizer, _prompt(tokenizer, question, begun), [f'{x}"' for x in question.labels])
        return _softmax(logs)
    found = []
    for label in question.labels:
        begun = f'Does the label "{label}" hold for the text? Answer: '
        yes, no = _likelihoods(model, tokenizer, _prompt(tokenizer, question, begun), ["yes", "no"])
        found.append(float(_softmax(np.array([yes, no]))[0]))
    return np.array(found, np.float32)


def _likelihoods(model: Any, tokenizer: Any, prompt: list[int], answers: Sequence[str]) -> np.ndarray[Any, Any]:
    """(m,) the log-probability of each answer after the prompt, which is read once."""
    import copy

    import torch

    limit = getattr(model.config, "max_position_embeddings", 0) or 0
    tokens = [tokenizer(answer, add_special_tokens=False)["input_ids"] for answer in answers]
    if limit:  # a prompt that is too long loses its beginning, not the text and its answer
        prompt = prompt[-max(1, limit - max(map(len, tokens))) :]
    with torch.no_grad():
        read = model(torch.tensor([prompt]), use_cache=True)
        first = torch.log_softmax(read.logits[0, -1].float(), dim=-1)
        logs = []
        for answer in tokens:
            log = float(first[answer[0]])
            if len(answer) > 1:
                more = model(torch.tensor([answer[:-1]]), past_key_values=copy.deepcopy(read.past_key_values))
                after = torch.log_softmax(more.logits[0].float(), dim=-1)
                log += float(after[torch.arange(len(answer) - 1), torch.tensor(answer[1:])].sum())
            logs.append(log)
    return np.array(logs)


def _softmax(logs: np.ndarray[Any, Any]) -> Floats:
    grown = np.exp(logs - logs.max())
    return np.asarray(grown / grown.sum(), np.float32)


def _classified(model: Any, tokenizer: Any, question: Question, name: str) -> Floats:
    import torch

    text = question.text.encode("utf-8", "replace").decode() or " "
    known = {tidy(str(label)).lower(): number for number, label in model.config.id2label.items()}
    wanted = [tidy(label).lower() for label in question.labels]
    with torch.no_grad():
        if all(label in known for label in wanted):
            inputs = tokenizer(text, return_tensors="pt", truncation=True)
            logits = model(**inputs).logits[0].float()[torch.tensor([known[label] for label in wanted])]
            shares = torch.sigmoid(logits) if question.multiple else torch.softmax(logits, dim=0)
            return np.asarray(shares.numpy(), np.float32)
        if "entailment" not in known:
            raise TeacherUnavailableError(
                f"The classifier {name!r} has other labels than the project ({', '.join(known)}): set teacher_model to "
                "one that has them, or to a model of entailment",
                fatal=True,
            )
        rows = []
        for label in wanted:
            inputs = tokenizer(text, HYPOTHESIS.format(label), return_tensors="pt", truncation="only_first")
            rows.append(model(**inputs).logits[0].float())
        logits = torch.stack(rows)
        if not question.multiple:
            return np.asarray(torch.softmax(logits[:, known["entailment"]], dim=0).numpy(), np.float32)
        against = known.get("contradiction", known.get("not entailment", 0))
        both = torch.softmax(logits[:, [known["entailment"], against]], dim=1)
        return np.asarray(both[:, 0].numpy(), np.float32)


def _written(model: Any, tokenizer: Any, question: Question) -> Answer:
    """A reply in words, the likeliest one, if it satisfies the question's schema."""
    import torch

    prompt = _prompt(tokenizer, question, "{")
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
    """Where the first JSON object of a text ends; its length if it does not."""
    try:
        return json.JSONDecoder().raw_decode(text)[1]
    except ValueError:
        return len(text)
