"""Tiny language models with random weights and a token for each byte."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
    T5Config,
    T5ForConditionalGeneration,
)

PAD, END, MESSAGE_START = "<pad>", "<eos>", "<|im_start|>"
CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<eos>\n{% endfor %}"
    "<|im_start|>assistant\n"
)
SIZES: dict[str, Any] = {"num_hidden_layers": 2, "num_attention_heads": 2}


def save_byte_tokenizer(folder: Path, chat_template: str | None = None) -> int:
    """Writes a tokenizer to a folder, and returns the size of its vocabulary."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: number for number, token in enumerate([PAD, END, MESSAGE_START, *alphabet])}
    bare = Tokenizer(models.BPE(vocab=vocabulary, merges=[], unk_token=None))
    bare.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bare.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=bare,
        eos_token=END,
        pad_token=PAD,
        additional_special_tokens=[MESSAGE_START],
        model_max_length=4096,
    )
    tokenizer.chat_template = chat_template
    tokenizer.save_pretrained(folder)
    return len(vocabulary)


def save_llama(folder: Path, chat_template: str | None = None) -> Path:
    """A causal model with two layers of 32 units."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=save_byte_tokenizer(folder, chat_template),
        hidden_size=32,
        intermediate_size=32,
        max_position_embeddings=2048,
        bos_token_id=None,
        eos_token_id=1,
        pad_token_id=0,
        initializer_range=0.3,
        **SIZES,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


def save_t5(folder: Path) -> Path:
    """A sequence-to-sequence model with two layers of 32 units."""
    torch.manual_seed(0)
    tokens = {"eos_token_id": 1, "pad_token_id": 0, "decoder_start_token_id": 0}
    sizes = {"d_model": 32, "d_kv": 16, "d_ff": 32, "num_layers": 2, "num_heads": 2}
    config = T5Config.from_dict({"vocab_size": save_byte_tokenizer(folder), **sizes, **tokens})
    T5ForConditionalGeneration(config).save_pretrained(folder)
    return folder
