"""The attribute model that judges the drafts of a control, among the tensors of its learner.

It is fitted together with the learner, so that both serve and are rolled back together. It is fitted again when the
number of pairs has grown by a quarter: each fit takes as long as some learners of texts, and a few more pairs hardly
change it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ml_backend.core import registry
from ml_backend.core.arrays import AttributeFit, Floats, Tensors
from ml_backend.core.types import DraftRule, Estimate
from ml_backend.evaluation.paired_auc import paired_auc

PREFIX = "checks.attribute."
SETTING, AUC, PAIRS = "setting", "auc", "pairs"
"""Names of tensors: the setting in UTF-8; the AUC with its interval; the number of pairs."""
MIN_PAIRS = 25
"""Number of accepted pairs from which the model is measured."""
MIN_AUC = 0.95
"""The AUC from which the model judges drafts. With 0.88 the selection of tasks gained nothing on paradetox, and with
0.99 it did."""
GROWTH = 1.25


@dataclass(frozen=True, slots=True)
class AttributeJudge:
    """A fitted attribute model.

    setting  the setting of the attribute model
    tensors  its fitted parameters
    auc      how well it tells sources from accepted texts
    """

    setting: str
    tensors: Tensors
    auc: Estimate

    def failures(self, texts: Sequence[str]) -> Floats:
        """(n,) the probability that the attribute fails in each text."""
        return registry.attribute_model(self.setting).failure_probabilities(self.tensors, texts)

    def is_used(self, rule: DraftRule) -> bool:
        """Whether it judges drafts."""
        return rule.trusts_attribute or self.auc.value >= MIN_AUC


def attribute_auc(fit: AttributeFit) -> Estimate:
    """How well a model tells sources from accepted texts, from its judgement of pairs."""
    return paired_auc(fit.source_failures, fit.accepted_failures)


def fitted_judge(
    rule: DraftRule, sources: Sequence[str], accepted: Sequence[str], earlier: AttributeJudge | None
) -> AttributeJudge | None:
    """The judge by a rule and n pairs of a source and the text that was accepted for it; `earlier` if it is by the same
    setting and from almost as many pairs. None without an attribute, or with fewer than MIN_PAIRS pairs."""
    n = len(sources)
    if not rule.attribute or n < MIN_PAIRS:
        return None
    if earlier and earlier.setting == rule.attribute and earlier.auc.n <= n < GROWTH * earlier.auc.n:
        return earlier
    fit = registry.attribute_model(rule.attribute).fit(sources, accepted)
    return AttributeJudge(rule.attribute, fit.tensors, attribute_auc(fit))


def packed(judge: AttributeJudge | None) -> Tensors:
    """The tensors of a judge."""
    if judge is None:
        return {}
    auc = judge.auc
    tensors: Tensors = {
        SETTING: np.frombuffer(judge.setting.encode(), np.uint8),
        AUC: np.array([auc.value, auc.low, auc.high]),
        PAIRS: np.array([auc.n]),
        **judge.tensors,
    }
    return {PREFIX + name: tensor for name, tensor in tensors.items()}


def judge_in(tensors: Tensors) -> AttributeJudge | None:
    """The judge in the tensors of a learner."""
    rest = {name.removeprefix(PREFIX): tensor for name, tensor in tensors.items() if name.startswith(PREFIX)}
    if not rest:
        return None
    setting = rest.pop(SETTING).tobytes().decode()
    value, low, high = np.asarray(rest.pop(AUC), np.float64).tolist()
    return AttributeJudge(setting, rest, Estimate(value, low, high, int(rest.pop(PAIRS).item()), "pairs"))
