"""Fine-tuning of an adapter, with a tiny causal and a tiny sequence-to-sequence model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_language_models import save_llama, save_t5

from ml_backend.core.arrays import Tensors
from ml_backend.core.exceptions import ApprenticeError
from plugins.writers.adapter import fine_tuning, memory, training
from plugins.writers.adapter.base_model import BaseModel, load_base
from plugins.writers.adapter.batches import EncodedPair, weighted_loss
from plugins.writers.adapter.fine_tuning import encoded_pairs, fine_tune, milestone
from plugins.writers.adapter.lora import DESCRIPTION, PREFIX, load_adapter, trainable_parameters, with_adapter
from plugins.writers.adapter.prompts import Prompts, instruction_for
from plugins.writers.adapter.training import Training, TrainingPlan

SOURCES = [f"the {name} is bad" for name in ("cat", "dog", "old house", "tea", "road", "book", "rain", "song", "egg")]
ACCEPTED = [source.replace("bad", "not so good") for source in SOURCES]
PLAN = TrainingPlan(epochs=3, seed=5, batch_pairs=4)


@pytest.fixture(params=[save_llama, save_t5], ids=["causal", "seq2seq"])
def base(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], BaseModel]:
    """Loads the model anew at each call."""
    folder: Path = request.param(tmp_path / "model")
    return lambda: load_base(str(folder), tmp_path / "cache")


def prompts_of(base: BaseModel) -> Prompts:
    return Prompts(base.tokenizer, base.is_seq2seq, instruction_for("rewrite"))


def pairs_of(base: BaseModel) -> list[EncodedPair]:
    return encoded_pairs(prompts_of(base), SOURCES, ACCEPTED, [1.0] * len(SOURCES))


class Record:
    """Records the numbers and the losses of all steps."""

    def __init__(self, steps: list[int] | None = None, losses: list[float] | None = None) -> None:
        self.steps = [] if steps is None else steps
        self.losses = [] if losses is None else losses

    def __call__(self, step: int, n_steps: int, loss: float) -> bool:
        self.steps.append(step)
        self.losses.append(loss)
        return True


def assert_equal(first: Tensors, second: Tensors) -> None:
    assert first.keys() == second.keys()
    for name, tensor in first.items():
        assert np.array_equal(tensor, second[name]), name


def trained(base: BaseModel, file: Path, **options: Any) -> Tensors:
    result = fine_tune(base, pairs_of(base), PLAN, file, **options)
    assert result is not None
    return result[1]


def test_training_makes_the_accepted_texts_likelier(base: Callable[[], BaseModel], tmp_path: Path) -> None:
    losses: list[float] = []
    loaded = base()
    plan = TrainingPlan(epochs=10, batch_pairs=4, learning_rate=1e-2)
    fine_tune(
        loaded,
        pairs_of(loaded),
        plan,
        tmp_path / "run",
        may_continue=Record(losses=losses),
    )
    assert np.mean(losses[-3:]) < 0.8 * np.mean(losses[:3])


@pytest.mark.parametrize("stopped_after", [1, 4, 8])
def test_a_run_that_is_stopped_and_continued_equals_one_that_is_not(
    base: Callable[[], BaseModel], tmp_path: Path, stopped_after: int
) -> None:
    whole = trained(base(), tmp_path / "whole")
    loaded, file = base(), tmp_path / "stopped"
    stopped = fine_tune(
        loaded, pairs_of(loaded), PLAN, file, may_continue=lambda step, n_steps, loss: step < stopped_after
    )
    assert stopped is None
    steps: list[int] = []
    continued = trained(base(), file, may_continue=Record(steps=steps))
    assert steps[0] == stopped_after + 1
    assert_equal(whole, continued)


def test_a_run_that_is_killed_continues_from_its_last_checkpoint(
    base: Callable[[], BaseModel], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = trained(base(), tmp_path / "whole")
    monkeypatch.setattr(fine_tuning, "STEPS_BETWEEN_CHECKPOINTS", 2)

    def kill(step: int, n_steps: int, loss: float) -> bool:
        if step == 5:
            raise KeyboardInterrupt
        return True

    with pytest.raises(KeyboardInterrupt):
        trained(base(), tmp_path / "killed", may_continue=kill)
    steps: list[int] = []
    continued = trained(base(), tmp_path / "killed", may_continue=Record(steps=steps))
    assert steps[0] == 5
    assert_equal(whole, continued)


def test_the_checkpoint_of_another_run_is_not_used(base: Callable[[], BaseModel], tmp_path: Path) -> None:
    expected = trained(base(), tmp_path / "alone")
    loaded = base()
    fine_tune(loaded, pairs_of(loaded)[:-1], PLAN, tmp_path / "run", may_continue=lambda step, n_steps, loss: step < 2)
    assert_equal(expected, trained(base(), tmp_path / "run"))


@pytest.mark.parametrize("content", [b"", b"no safetensors", b"\x10" * 100])
def test_a_damaged_checkpoint_starts_the_run_anew(
    base: Callable[[], BaseModel], tmp_path: Path, content: bytes
) -> None:
    expected = trained(base(), tmp_path / "alone")
    (tmp_path / "run").write_bytes(content)
    assert_equal(expected, trained(base(), tmp_path / "run"))


def test_the_loss_is_that_of_the_accepted_text_alone(base: Callable[[], BaseModel]) -> None:
    loaded = base()
    pairs = [
        EncodedPair(pair.prompt, pair.target, weight)
        for pair, weight in zip(pairs_of(loaded), (1, 2, 0.5), strict=False)
    ]
    with torch.no_grad():
        loss = float(weighted_loss(loaded, loaded.model, pairs))
        expected = sum(pair.weight * negative_log_likelihood(loaded, pair) for pair in pairs)
    assert loss == pytest.approx(expected, rel=1e-4)


def test_the_gradients_of_a_batch_are_those_of_its_pairs(base: Callable[[], BaseModel]) -> None:
    def gradients(batches: list[list[EncodedPair]], loaded: BaseModel) -> dict[str, Any]:
        model = with_adapter(loaded, 0)
        with torch.no_grad():
            for parameter in trainable_parameters(model).values():
                parameter.fill_(0.05)
        for batch in batches:
            weighted_loss(loaded, model, batch).backward()
        return {name: parameter.grad for name, parameter in trainable_parameters(model).items()}

    loaded = base()
    pairs = pairs_of(loaded)
    together, one_by_one = gradients([pairs], loaded), gradients([[pair] for pair in pairs], base())
    for name, gradient in one_by_one.items():
        assert torch.allclose(together[name], gradient, rtol=1e-3, atol=1e-3), name


def negative_log_likelihood(base: BaseModel, pair: EncodedPair) -> float:
    """Of the target, from one pass without padding."""
    target = torch.tensor(pair.target)
    if base.is_seq2seq:
        start = [base.model.config.decoder_start_token_id]
        logits = base.model(
            input_ids=torch.tensor([pair.prompt]), decoder_input_ids=torch.tensor([[*start, *pair.target[:-1]]])
        ).logits[0]
    else:
        logits = base.model(torch.tensor([[*pair.prompt, *pair.target]])).logits[0, len(pair.prompt) - 1 : -1]
    return -float(torch.log_softmax(logits, -1)[torch.arange(len(target)), target].sum())


def test_an_adapter_comes_back_from_its_file(base: Callable[[], BaseModel], tmp_path: Path) -> None:
    from safetensors.numpy import load_file, save_file

    loaded = base()
    result = fine_tune(loaded, pairs_of(loaded), PLAN, tmp_path / "run")
    assert result is not None
    model, tensors = result
    save_file(tensors, tmp_path / "adapter.safetensors")
    other = base()
    restored = with_adapter(other, seed=1)
    load_adapter(other, restored, load_file(tmp_path / "adapter.safetensors"))
    pairs = pairs_of(loaded)
    with torch.no_grad():
        assert float(weighted_loss(loaded, model, pairs)) == float(weighted_loss(other, restored, pairs))


def test_the_weights_of_the_base_stay_as_they_are_and_are_not_in_the_file(
    base: Callable[[], BaseModel], tmp_path: Path
) -> None:
    loaded, untouched = base(), base()
    tensors = trained(loaded, tmp_path / "run")
    assert {name for name in tensors if not name.startswith(PREFIX)} == {DESCRIPTION}
    assert all("lora_" in name for name in tensors if name != DESCRIPTION)
    before = untouched.model.state_dict()
    for name, value in loaded.model.state_dict().items():
        if "lora_" not in name:
            assert torch.equal(value, before[name.replace(".base_layer", "")])


def test_an_adapter_of_other_weights_is_refused(base: Callable[[], BaseModel], tmp_path: Path) -> None:
    loaded = base()
    tensors = trained(loaded, tmp_path / "run")
    other = BaseModel(loaded.model, loaded.tokenizer, "another", "0" * 64, loaded.device)
    with pytest.raises(ApprenticeError, match="trained on other weights"):
        load_adapter(other, loaded.model, tensors)


def test_a_later_run_starts_from_the_earlier_adapter(base: Callable[[], BaseModel], tmp_path: Path) -> None:
    earlier = trained(base(), tmp_path / "first")
    losses: list[float] = []
    trained(base(), tmp_path / "anew", may_continue=Record(losses=losses))
    first_loss = losses.pop(0)
    losses.clear()
    trained(base(), tmp_path / "later", earlier=earlier, may_continue=Record(losses=losses))
    assert losses[0] < first_loss


class ScarceMemory:
    """Computes losses of at most `rows` pairs at a time."""

    def __init__(self, rows: int, problem: str = "DefaultCPUAllocator: can't allocate memory: 9 bytes") -> None:
        self.rows, self.problem, self.calls = rows, problem, list[int]()

    def __call__(self, base: BaseModel, model: Any, pairs: list[EncodedPair]) -> Any:
        self.calls.append(len(pairs))
        if len(pairs) > self.rows:
            raise RuntimeError(self.problem)
        return weighted_loss(base, model, pairs)


def test_a_batch_that_memory_does_not_hold_is_halved(
    base: Callable[[], BaseModel], monkeypatch: pytest.MonkeyPatch
) -> None:
    def gradient_step(rows: int) -> tuple[dict[str, Any], list[int]]:
        scarce = ScarceMemory(rows)
        monkeypatch.setattr(training, "weighted_loss", scarce)
        loaded = base()
        run = Training(loaded, with_adapter(loaded, 0), pairs_of(loaded)[:8], PLAN)
        run.run_step()
        run.run_step()
        return run.state(), scarce.calls

    (whole, whole_calls), (halved, halved_calls) = gradient_step(4), gradient_step(2)
    assert (whole_calls, halved_calls) == ([4, 4], [4, 2, 2, 2, 2])
    for name, tensor in whole.items():
        assert torch.allclose(tensor, halved[name], atol=2e-4), name


def test_without_memory_for_one_pair_the_message_says_what_to_do(
    base: Callable[[], BaseModel], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    scarce = ScarceMemory(0)
    monkeypatch.setattr(training, "weighted_loss", scarce)
    loaded = base()
    with pytest.raises(ApprenticeError, match="choose a smaller one"):
        fine_tune(loaded, pairs_of(loaded)[:8], PLAN, tmp_path / "run")
    assert scarce.calls == [4, 2, 1]


def test_other_errors_are_not_taken_for_a_lack_of_memory(
    base: Callable[[], BaseModel], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(training, "weighted_loss", ScarceMemory(0, "shapes do not match"))
    with pytest.raises(RuntimeError, match="shapes"):
        trained(base(), tmp_path / "run")


def test_errors_of_allocation_are_recognised() -> None:
    for error in (MemoryError(), torch.OutOfMemoryError("CUDA out of memory"), RuntimeError("can't allocate memory")):
        assert memory.is_out_of_memory(error)


def test_pairs_that_are_empty_or_too_long_are_left_out(base: Callable[[], BaseModel], tmp_path: Path) -> None:
    prompts = prompts_of(base())
    assert encoded_pairs(prompts, ["a", " ", "b", "c" * 20_000], ["", "x", "d", "e"], [1.0] * 4) == [
        EncodedPair(prompts.prompt("b"), prompts.target("d"))
    ]
    with pytest.raises(ApprenticeError, match="nothing to learn from"):
        fine_tune(base(), [], PLAN, tmp_path / "run")


def test_an_epoch_has_each_pair_once_and_batches_of_similar_lengths(
    base: Callable[[], BaseModel], monkeypatch: pytest.MonkeyPatch
) -> None:
    batches: list[list[EncodedPair]] = []

    def record(base: BaseModel, model: Any, pairs: list[EncodedPair]) -> Any:
        batches.append([*pairs])
        return sum(parameter.sum() for parameter in trainable_parameters(model).values())

    monkeypatch.setattr(training, "weighted_loss", record)
    pairs = [EncodedPair([5] * length, [6, 1]) for length in range(1, 31)]
    loaded = base()
    run = Training(loaded, with_adapter(loaded, 0), pairs, TrainingPlan(epochs=2, batch_pairs=4))
    for _ in range(run.n_steps):
        run.run_step()
    first, second = batches[:8], batches[8:]
    for epoch in (first, second):
        assert sorted(len(pair) for batch in epoch for pair in batch) == [len(pair) for pair in pairs]
        assert all(max(map(len, batch)) - min(map(len, batch)) < 4 for batch in epoch)
    assert first != second
    assert [len(batch[0]) for batch in first] != sorted(len(batch[0]) for batch in first)


@pytest.mark.parametrize(("n_accepted", "expected"), [(0, 0), (49, 0), (50, 50), (99, 50), (250, 200), (9000, 400)])
def test_milestones(n_accepted: int, expected: int) -> None:
    assert milestone(n_accepted) == expected
