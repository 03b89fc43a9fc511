"""Label Studio's own validation of predictions, which its bulk import applies: it drops what is not valid."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from label_studio_sdk.label_interface.interface import LabelInterface


def validation_errors(label_config: str, regions: Sequence[dict[str, Any]]) -> list[str]:
    interface: Any = LabelInterface(label_config)
    return list(interface.validate_prediction({"result": [*regions], "score": 0.5}, return_errors=True))
