"""Adds a LoRA adapter to a base model, and moves the adapter's weights to and from tensors (Hu et al., "LoRA: Low-Rank
Adaptation of Large Language Models", ICLR 2022; by peft)."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np

from ml_backend.core.arrays import Tensors
from ml_backend.core.exceptions import ApprenticeError
from plugins.writers.adapter.base_model import BaseModel

RANK, ALPHA = 16, 32
DESCRIPTION = "base"
"""The tensor that names the base model: JSON as bytes."""
PREFIX = "lora."


def with_adapter(base: BaseModel, seed: int) -> Any:
    """The base model with a new adapter on all linear layers, which changes nothing yet. The base model itself is
    changed: load it anew for another adapter. Raises ApprenticeError if peft is not installed."""
    import torch

    try:
        from peft import LoraConfig, TaskType, get_peft_model
    except ImportError as error:
        raise ApprenticeError(
            "Fine-tuning a language model needs the extra `adapter`: pip install -c constraints.txt '.[adapter]'"
        ) from error
    config = LoraConfig(
        r=RANK,
        lora_alpha=ALPHA,
        lora_dropout=0.0,
        target_modules="all-linear",
        task_type=TaskType.SEQ_2_SEQ_LM if base.is_seq2seq else TaskType.CAUSAL_LM,
    )
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():  # the rest of the process keeps its seed
        torch.manual_seed(seed)
        warnings.filterwarnings("ignore", message=".*is_gradient_checkpointing.*")  # peft reads it all the same
        return get_peft_model(base.model, config).eval()  # no dropout: a step is the same after a restart


def trainable_parameters(model: Any) -> dict[str, Any]:
    """The adapter's parameters by name, in a fixed order."""
    return {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}


def adapter_tensors(base: BaseModel, model: Any) -> Tensors:
    """The adapter's weights under the names of peft, and a description of the base model that they belong to."""
    from peft import get_peft_model_state_dict

    state: Mapping[str, Any] = get_peft_model_state_dict(model)
    description = {"name": base.name, "sha256": base.digest, "rank": RANK, "alpha": ALPHA}
    weights = {f"{PREFIX}{name}": value.detach().cpu().numpy().copy() for name, value in sorted(state.items())}
    return {DESCRIPTION: np.frombuffer(json.dumps(description).encode(), np.uint8).copy(), **weights}


def load_adapter(base: BaseModel, model: Any, tensors: Tensors) -> None:
    """Sets the weights of the adapter of a model. Raises ApprenticeError if they belong to another base model."""
    import torch
    from peft import set_peft_model_state_dict

    description = json.loads(tensors[DESCRIPTION].tobytes())
    if description["sha256"] != base.digest:
        raise ApprenticeError(
            f"The adapter was trained on other weights of {description['name']!r} than those of {base.name!r}: "
            "name the model that it was trained on, or train it again."
        )
    weights = {
        name.removeprefix(PREFIX): torch.from_numpy(np.array(value)).to(base.device)
        for name, value in tensors.items()
        if name.startswith(PREFIX)
    }
    set_peft_model_state_dict(model, weights)
