"""A BERT encoder with mean pooling in plain torch, for sentence models that consist of these two alone.

Devlin et al., "BERT" (NAACL 2019), with the pooling of Reimers and Gurevych, "Sentence-BERT" (EMNLP 2019). The class
replaces transformers' BERT, which costs 120 MB and a second or more in every process; the results are the same to 1e-5.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

EPSILON = 1e-12


class Bert:
    """The forward pass over `weights` (names as in Hugging Face's BertModel) with `heads` attention heads."""

    def __init__(self, weights: Mapping[str, Tensor], heads: int) -> None:
        import torch

        self._heads = heads
        self._embeddings = {n.removeprefix("embeddings."): w for n, w in weights.items() if n.startswith("embeddings.")}
        self._layers: list[dict[str, Tensor]] = []
        while any(name.startswith(prefix := f"encoder.layer.{len(self._layers)}.") for name in weights):
            layer = {n.removeprefix(prefix): w for n, w in weights.items() if n.startswith(prefix)}
            for kind in ("weight", "bias"):  # one matrix product instead of three
                parts = [layer.pop(f"attention.self.{part}.{kind}") for part in ("query", "key", "value")]
                layer[f"qkv.{kind}"] = torch.cat(parts)
            self._layers.append(layer)

    def __call__(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Returns the mean (b, d) of the last layer over the tokens. `ids` (b, t) int64, `mask` (b, t) bool, true for
        tokens."""
        *_, last = self.states(ids, mask)
        return masked_mean(last, mask)

    def states(self, ids: Tensor, mask: Tensor) -> Iterator[Tensor]:
        """Yields the states (b, t, d) of the tokens after each layer; see `__call__`."""
        from torch.nn import functional

        def linear(x: Tensor, name: str) -> Tensor:
            return functional.linear(x, layer[f"{name}.weight"], layer[f"{name}.bias"])

        def norm(x: Tensor, tensors: dict[str, Tensor], name: str) -> Tensor:
            return functional.layer_norm(x, x.shape[-1:], tensors[f"{name}.weight"], tensors[f"{name}.bias"], EPSILON)

        embeddings = self._embeddings
        b, t = ids.shape
        x = embeddings["word_embeddings.weight"][ids] + embeddings["position_embeddings.weight"][:t]
        x = norm(x + embeddings["token_type_embeddings.weight"][0], embeddings, "LayerNorm")
        attention_mask = None if bool(mask.all()) else mask[:, None, None, :]
        for layer in self._layers:
            q, k, v = linear(x, "qkv").view(b, t, 3, self._heads, -1).permute(2, 0, 3, 1, 4)
            attended = (
                functional.scaled_dot_product_attention(q, k, v, attn_mask=attention_mask)
                .transpose(1, 2)
                .reshape(b, t, -1)
            )
            x = norm(x + linear(attended, "attention.output.dense"), layer, "attention.output.LayerNorm")
            hidden = functional.gelu(linear(x, "intermediate.dense"))
            x = norm(x + linear(hidden, "output.dense"), layer, "output.LayerNorm")
            yield x


def masked_mean(states: Tensor, mask: Tensor) -> Tensor:
    """Returns the mean (b, d) of the states (b, t, d) over the tokens that the mask (b, t) selects."""
    weights = mask[:, :, None].to(states.dtype)
    return (states * weights).sum(1) / weights.sum(1)
