"""LAAT as a Bayesian average: its members and direction, and that wrong scores do no harm."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from schemas import ONE_CHOICE
from scipy import integrate
from scipy.special import log_expit
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from ml_backend.core.arrays import Attributions, DistillationData, PseudoLabels, TrainingSet
from plugins.learners.bayesian_averaging import BIAS_SD, fit
from plugins.learners.laat import DECORRELATION, FIELDS, Laat, direction

D = 8


class Table:
    """Records of eight numbers, some of which favour the second label, as the teacher's scores may say."""

    def __init__(self, seed: int = 0, labels: int = 2) -> None:
        self.random = np.random.default_rng(seed)
        mixed = self.random.normal(size=(D, D)) * 0.3 + np.eye(D)
        self.x = (self.random.normal(size=(1200, D)) @ mixed).astype(np.float32)
        self.x = (self.x - self.x.mean(axis=0)) / self.x.std(axis=0)
        self.truth = self.random.normal(size=(D, labels)) * 1.2
        noisy = self.x @ self.truth + self.random.gumbel(size=(1200, labels))
        self.y = noisy.argmax(axis=1)
        self.targets = np.eye(labels, dtype=np.float32)[self.y]
        self.pool, self.test = self.x[:600], np.arange(600, 1200)

    def scores(self) -> npt.NDArray[Any]:
        """Returns scores (c, 1, d) as a teacher gives them: marginal, rough, from -10 to 10."""
        correlation = np.cov(self.pool, rowvar=False) @ self.truth
        return np.asarray(np.round(5 * correlation / np.abs(correlation).mean()).clip(-10, 10).T[:, None, :])

    def priors(self, scores: npt.NDArray[Any]) -> dict[str, dict[str, npt.NDArray[Any]]]:
        nothing = PseudoLabels(self.x[:0], self.targets[:0], np.zeros(0, np.float32))
        attributions = Attributions(scores.astype(np.float32), np.ones(D, np.float32))
        return Laat().distil(DistillationData(nothing, nothing, self.pool, ONE_CHOICE, attributions), 0)

    def train(self, rows_per_label: int, scores: npt.NDArray[Any] | None = None) -> TrainingSet:
        rows = np.concatenate(
            [
                self.random.choice(np.flatnonzero(self.y[:600] == label), rows_per_label, replace=False)
                for label in set(self.y)
            ]
        )
        priors = {} if scores is None else self.priors(scores)
        return TrainingSet(self.x[rows], self.targets[rows], np.ones(len(rows), np.float32), ONE_CHOICE, priors=priors)

    def accuracy(self, train: TrainingSet) -> float:
        probabilities = Laat().predict(Laat().fit(train, 0).tensors, self.x[self.test])
        return float((probabilities.argmax(axis=1) == self.y[self.test]).mean())


def means(rows_per_label: int, labels: int = 2) -> dict[str, float]:
    """Returns mean accuracies over ten tables."""
    accuracies: dict[str, list[float]] = {"right": [], "negated": [], "none": []}
    for seed in range(10):
        table = Table(seed, labels)
        scores = table.scores()
        alone = table.train(rows_per_label)
        for name, signed in (("right", scores), ("negated", -scores), ("none", 0 * scores)):
            accuracies[name].append(table.accuracy(replace(alone, priors=table.priors(signed))))
    return {name: float(np.mean(values)) for name, values in accuracies.items()}


@pytest.mark.parametrize("labels", [2, 3])
def test_with_one_row_per_label_right_scores_raise_the_accuracy(labels: int) -> None:
    accuracies = means(1, labels)
    assert accuracies["right"] > accuracies["none"] + 0.1


def test_with_more_rows_negated_scores_do_no_harm() -> None:
    few, many = means(10), means(50)
    assert few["right"] >= few["none"] and few["negated"] > few["none"] - 0.05
    assert many["right"] > many["none"] - 0.01 and many["negated"] > many["none"] - 0.01


def test_trust_is_above_one_half_if_the_labels_agree_with_the_scores() -> None:
    table = Table()
    for scores, trusted in ((table.scores(), True), (-table.scores(), False)):
        fitted = Laat().fit(table.train(25, scores), 0)
        trust, against = fitted.tensors["trust"].mean(), fitted.tensors["against"].mean()
        assert (trust > 0.5, fitted.prior == FIELDS) == (trusted, trusted) and (against > trust) != trusted


def test_the_evidence_is_the_likelihood_with_weight_and_bias_integrated_out(rng: np.random.Generator) -> None:
    """Compared with numerical integration; Laplace's approximation is close with a dozen answers."""
    x = rng.normal(size=(12, 1))
    t = (x[:, 0] + rng.normal(size=12) > 0).astype(float)
    u, tau, alpha = np.array([1.0]), 0.7, 1.0
    members = fit(x, t, np.ones(12), u, np.ones(1), [(alpha, tau)])

    def density(b: float, w: float) -> float:
        z = x[:, 0] * w + b
        likelihood = float((t * log_expit(z) + (1 - t) * log_expit(-z)).sum())
        exponent = likelihood - (w - alpha) ** 2 / (2 * tau**2) - b**2 / (2 * BIAS_SD**2)
        return float(np.exp(exponent) / (2 * np.pi * tau * BIAS_SD))

    exact, _ = integrate.dblquad(density, alpha - 5 * tau, alpha + 5 * tau, -6 * BIAS_SD, 6 * BIAS_SD)
    assert members.evidence[0] == pytest.approx(np.log(exact), abs=0.05)


def test_members_are_the_most_probable_heads_and_left_out_logits_come_from_the_other_rows(
    rng: np.random.Generator,
) -> None:
    from scipy.optimize import minimize

    x = rng.normal(size=(40, 3))
    t = (x @ [1.0, -1.0, 0.5] + rng.logistic(size=40) > 0).astype(float)
    row_weights, u, scale = rng.uniform(0.5, 1.5, 40), np.array([1.0, -0.5, 0.0]), np.array([1.0, 0.5, 2.0])
    alphas_and_taus = [(1.0, 0.3), (0.0, 1.2)]
    members = fit(x, t, row_weights, u, scale, alphas_and_taus)

    def best(alpha: float, tau: float, kept: npt.NDArray[Any]) -> npt.NDArray[Any]:
        def loss(parameters: npt.NDArray[Any]) -> float:
            z = x @ parameters[:3] + parameters[3]
            likelihood = row_weights * kept * (t * log_expit(z) + (1 - t) * log_expit(-z))
            prior = ((parameters[:3] - alpha * u) / (tau * scale)) ** 2
            return float(-likelihood.sum() + prior.sum() / 2 + parameters[3] ** 2 / (2 * BIAS_SD**2))

        return np.asarray(minimize(loss, np.zeros(4), method="BFGS", options={"gtol": 1e-8}).x)

    for member, (alpha, tau) in enumerate(alphas_and_taus):
        whole = best(alpha, tau, np.ones(40))
        assert [*members.weights[member], members.biases[member]] == pytest.approx(whole.tolist(), abs=2e-3)
        for row in (0, 7, 39):
            without = best(alpha, tau, (np.arange(40) != row).astype(float))
            assert members.left_out[member, row] == pytest.approx(x[row] @ without[:3] + without[3], abs=0.03)


def test_the_direction_shares_a_score_between_correlated_columns() -> None:
    covariance = np.array([[1.0, 0.9, 0.0], [0.9, 1.0, 0.0], [0.0, 0.0, 1.0]])
    u, size = direction(np.array([[5.0, 5.0, 5.0]]), covariance, np.ones(3))
    # the same from each column: (1 - s) u + s C u = t, with s of the covariance shared
    assert u[0] == pytest.approx(u[1]) and u[2] == pytest.approx((1 + 0.9 * DECORRELATION) * u[0])
    assert u @ covariance @ u == pytest.approx(1.0) and size == pytest.approx(np.full(3, 5**1.5))
    assert not direction(np.zeros((2, 3)), covariance, np.ones(3))[0].any()


def test_without_scores_or_pool_it_is_a_learner_like_others() -> None:
    table = Table()
    assert table.accuracy(table.train(50)) > 0.8
    nothing = PseudoLabels(table.x[:0], table.targets[:0], np.zeros(0, np.float32))
    assert Laat().distil(DistillationData(nothing, nothing, table.pool, ONE_CHOICE), 0) == {}


@pytest.mark.parametrize("upside", [1, -1])
def test_with_many_columns_the_most_probable_beliefs_predict_what_all_would(upside: int) -> None:
    random = np.random.default_rng(0)
    x = (random.normal(size=(1500, 40)) / 6).astype(np.float32)
    truth = random.normal(size=40)
    y = (x @ truth * 3 + random.normal(size=1500) * 0.5 > 0).astype(int)
    scores = np.stack([np.zeros((1, 40)), np.clip(upside * 4 * truth, -10, 10)[None]]).astype(np.float32)
    nothing = PseudoLabels(x[:0], np.empty((0, 2), np.float32), np.zeros(0, np.float32))
    data = DistillationData(nothing, nothing, x, ONE_CHOICE, Attributions(scores, np.ones(40, np.float32)))
    train = TrainingSet(
        x[:200], np.eye(2, dtype=np.float32)[y[:200]], np.ones(200, np.float32), ONE_CHOICE,
        priors=Laat().distil(data, 0),
    )  # fmt: skip
    probabilities, trust = [], []
    for large in (1000, 20):
        fit = Laat(max_size_for_all_beliefs=large).fit(train, 0)
        probabilities.append(Laat().predict(fit.tensors, x[200:])[:, 1])
        trust.append(fit.trust)
    np.testing.assert_allclose(probabilities[0], probabilities[1], atol=0.02)
    assert trust[0] == pytest.approx(trust[1], abs=0.05)
    assert (trust[0] or 0.0) > 0.9 if upside > 0 else (trust[0] or 0.0) < 0.1


def test_the_unit_of_the_columns_does_not_matter_and_a_column_of_width_zero_has_no_part_in_the_direction() -> None:
    random = np.random.default_rng(0)
    x = random.normal(size=(500, 4)) @ (np.eye(4) + 0.4 * random.normal(size=(4, 4)))
    rest = 9 - np.abs(x).sum(axis=1, keepdims=True)  # follows from the others
    scores = np.array([[6.0, 6.0, -3.0, 0.0, 0.0]])
    width = np.array([1.0, 1.0, 1.0, 1.0, 0.0])
    projections = []
    for unit in (1.0, 20.0):
        columns = np.hstack([x, rest]) / unit
        u, _ = direction(scores, np.asarray(np.cov(columns, rowvar=False), np.float64), width)
        assert u[4] == 0.0
        projections.append(columns @ u)
    np.testing.assert_allclose(projections[0], projections[1], atol=1e-9)


class WideTable:
    """Records of seventy fields: eight numbers, the others yes/no and most of them rare. Ten of the yes/no fields
    decide, with scores of the right sign; the other fields do not matter, and have scores, too."""

    FIELDS, NUMBERS, DECISIVE = 70, 8, 10

    def __init__(self, seed: int) -> None:
        self.random = random = np.random.default_rng(seed)
        d, rows = self.FIELDS, 2500
        shares = np.clip(random.beta(0.5, 5, d), 0.01, 0.5)
        numbers = np.arange(d) >= d - self.NUMBERS
        columns = np.where(numbers, random.normal(size=(rows, d)), 2 * ((random.random((rows, d)) < shares) - shares))
        truth, decisive = np.zeros(d), random.permutation(d - self.NUMBERS)[: self.DECISIVE]
        self.decisive = decisive
        truth[decisive] = random.choice([-1, 1], self.DECISIVE) * random.uniform(0.5, 3, self.DECISIVE)
        logits = columns @ truth
        self.y = (1.3 * logits / logits.std() + random.logistic(size=rows) > 0).astype(int)
        self.scores = random.integers(-5, 6, d).astype(float)
        self.scores[decisive] = 7 * np.sign(truth[decisive])
        length = float(np.percentile(np.linalg.norm(columns, axis=1), 99))
        self.x = (columns / length).astype(np.float32)
        self.width = np.where(numbers, 1.0, 0.5).astype(np.float32)
        self.columns = columns

    def rows(self, rows_per_label: int) -> npt.NDArray[Any]:
        return np.concatenate(
            [self.random.choice(np.flatnonzero(self.y[:1000] == label), rows_per_label) for label in (0, 1)]
        )

    def area(self, rows: npt.NDArray[Any], scores: npt.NDArray[Any]) -> float:
        learner = Laat()
        nothing = PseudoLabels(self.x[:0], np.zeros((0, 2), np.float32), np.zeros(0, np.float32))
        both = np.stack([0 * scores, scores])[:, None].astype(np.float32)
        priors = learner.distil(
            DistillationData(nothing, nothing, self.x[:1000], ONE_CHOICE, Attributions(both, self.width)), 0
        )
        targets = np.eye(2, dtype=np.float32)[self.y[rows]]
        train = TrainingSet(self.x[rows], targets, np.ones(len(rows), np.float32), ONE_CHOICE, priors=priors)
        probabilities = learner.predict(learner.fit(train, 0).tensors, self.x[1000:])[:, 1]
        return float(roc_auc_score(self.y[1000:], probabilities))

    def plain(self, rows: npt.NDArray[Any], fields: npt.NDArray[Any] | slice = slice(None)) -> float:
        """Returns the area under the ROC curve of a logistic regression on some of the fields."""
        columns = self.columns[:, fields]
        fitted = LogisticRegression(max_iter=500).fit(columns[rows], self.y[rows])
        return float(roc_auc_score(self.y[1000:], fitted.decision_function(columns[1000:])))


def test_in_a_wide_table_labels_correct_scores_that_are_right_about_the_few_decisive_fields() -> None:
    areas_by_table = []
    for seed in range(8):
        table = WideTable(seed)
        few, many = table.rows(1), table.rows(50)
        areas = [table.area(rows, table.scores) for rows in (few, many)]
        areas_by_table.append([*areas, table.plain(many), table.plain(many, table.decisive)])
    few, many, plain, decisive_only = np.mean(areas_by_table, axis=0)
    assert many > few + 0.03 and many > plain + 0.05
    assert many > decisive_only - 0.01  # about as good as with the decisive fields alone


def test_a_wide_table_without_scores_is_learnt_no_worse_than_by_plain_logistic_regression() -> None:
    areas = []
    for seed in range(8):
        table = WideTable(seed)
        rows = table.rows(50)
        areas.append((table.area(rows, 0 * table.scores), table.plain(rows)))
    ours, plain = np.mean(areas, axis=0)
    assert ours > plain - 0.01


def test_weak_scores_are_worth_more_with_labels_than_alone_or_left_out() -> None:
    """The scores alone have an area under the ROC curve of 0.6."""
    areas = []
    for seed in range(8):
        table = WideTable(seed)
        weak = table.scores + 4 * table.random.normal(size=table.FIELDS)
        rows = table.rows(50)
        alone = roc_auc_score(table.y[1000:], table.x[1000:] @ weak)
        areas.append((alone, table.area(rows, weak), table.area(rows, 0 * weak)))
    alone, ours, nothing = np.mean(areas, axis=0)
    assert ours > max(alone, nothing) + 0.02
