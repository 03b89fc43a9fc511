"""The state of a run of fine-tuning in a file, from which the run continues after the process was killed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

from ml_backend.core.arrays import Tensors
from plugins.writers.adapter.batches import EncodedPair
from plugins.writers.adapter.lora import DESCRIPTION
from plugins.writers.adapter.training import Training, TrainingPlan


class Checkpoint:
    """One file, which holds weights and no text.

    fingerprint  of the run, see `fingerprint`: the state of another run is not used
    """

    def __init__(self, file: Path, fingerprint: str) -> None:
        self._file = file
        self._fingerprint = fingerprint

    def write(self, training: Training) -> None:
        from safetensors.torch import save_file

        self._file.parent.mkdir(parents=True, exist_ok=True)
        temporary = self._file.with_suffix(".writing")
        metadata = {"fingerprint": self._fingerprint, "step": str(training.step)}
        save_file({name: tensor.contiguous() for name, tensor in training.state().items()}, temporary, metadata)
        temporary.replace(self._file)

    def restore(self, training: Training) -> bool:
        """Continues from the state in the file. Returns whether there is one of this run."""
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(self._file, framework="pt") as content:
                metadata = content.metadata() or {}
                if metadata.get("fingerprint") != self._fingerprint:
                    return False
                names = list(content.keys())
                training.load_state(int(metadata["step"]), {name: content.get_tensor(name) for name in names})
        except (OSError, SafetensorError):  # none yet, or the disk was full: the run begins anew
            return False
        return True

    def remove(self) -> None:
        self._file.unlink(missing_ok=True)


def fingerprint(digest: str, pairs: Sequence[EncodedPair], plan: TrainingPlan, earlier: Tensors | None) -> str:
    """Differs between two runs that differ in anything that their result depends on.

    digest   the SHA-256 of the base model's weights
    earlier  the adapter that the run starts from
    """
    content: list[Any] = [digest, plan.as_dict()]
    content += [[*map(int, pair.prompt), -1, *map(int, pair.target), pair.weight] for pair in pairs]
    result = sha256(json.dumps(content).encode())
    for name, tensor in sorted((earlier or {}).items()):
        if name != DESCRIPTION:
            result.update(name.encode() + tensor.tobytes())
    return result.hexdigest()
