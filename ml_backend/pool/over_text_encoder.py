"""What the encoders of a feature space that is made with an encoder of texts have from that encoder."""

from __future__ import annotations

from dataclasses import dataclass

from ml_backend.core.ports import Encoder


@dataclass(frozen=True)
class OverTextEncoder:
    """The speed and the check of the weights are those of the encoder of texts."""

    text_encoder: Encoder

    @property
    def quick(self) -> bool:
        return bool(getattr(self.text_encoder, "quick", False))  # encoders of other packages may lack the attribute

    def verify(self) -> str:
        return self.text_encoder.verify()
