"""LAAT as published, compared with a loss and a gradient computed by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from plugins.learners.laat_paper import GAMMA, HIDDEN_UNITS, LaatPaper, attribution_goals, loss, paper_mlp

X = np.array([[0.0, 1.0], [1.0, 0.5], [0.25, 0.0]], np.float32)
Y = np.array([[1.0], [0.0], [1.0]], np.float32)
W, B = np.array([0.6, -0.8], np.float32), 0.1


def test_the_goals_are_mean_exponential_scores_of_unit_length() -> None:
    scores = np.array([[[0.0, 0.0, 0.0]], [[2.0, -1.0, 0.0]]], np.float32)
    second = np.array([[[0.0, 0.0, 0.0]], [[1.0, -3.0, 0.0]]], np.float32)
    goals = attribution_goals({"scores": np.concatenate([scores, second], axis=1)}, pair=True)
    t = np.array([(np.exp(2) + np.exp(1)) / 2, -(np.exp(1) + np.exp(3)) / 2, 0.0])
    assert goals[0] == pytest.approx(t / np.linalg.norm(t), abs=1e-6)


def test_loss_and_gradient_are_those_by_hand() -> None:
    layer = torch.nn.Linear(2, 1)
    network = torch.nn.Sequential(layer)
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(W[None]))
        layer.bias.fill_(B)
    goal = np.array([[0.8, 0.6]], np.float32)
    parts = (torch.from_numpy(X), torch.from_numpy(Y), torch.ones(3), torch.from_numpy(goal), True)
    total = loss(network, *parts)
    total.backward()  # type: ignore[no-untyped-call]

    z = X @ W + B
    p = 1 / (1 + np.exp(-z))
    cross_entropy = -(Y[:, 0] * np.log(p) + (1 - Y[:, 0]) * np.log(1 - p)).mean()
    unit = W / np.linalg.norm(W)
    difference = unit - goal[0]
    assert total.item() == pytest.approx(cross_entropy + GAMMA * np.square(difference).mean(), rel=1e-5)
    # d unit / d w = (I - unit unit') / |w|; the mean of squares has 2 / d before it
    jacobian = (np.eye(2) - np.outer(unit, unit)) / np.linalg.norm(W)
    by_hand = ((p - Y[:, 0])[:, None] * X).mean(axis=0) + GAMMA * 2 / 2 * jacobian @ difference
    assert layer.weight.grad is not None and layer.bias.grad is not None
    assert layer.weight.grad[0].numpy() == pytest.approx(by_hand, rel=1e-4)
    assert layer.bias.grad.item() == pytest.approx((p - Y[:, 0]).mean(), rel=1e-4)


def test_the_attribution_of_a_network_is_the_gradient_of_its_mean_logit() -> None:
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Linear(2, 5), torch.nn.ReLU(), torch.nn.Linear(5, 1))
    goal = np.array([[1.0, 0.0]], np.float32)
    parts = (torch.from_numpy(X), torch.from_numpy(Y), torch.ones(3))
    penalty = loss(network, *parts, torch.from_numpy(goal), True).item() - loss(network, *parts, None, True).item()
    step = 1e-3
    shifted = [network(torch.from_numpy(X + step * np.eye(2, dtype=np.float32)[k])).mean().item() for k in range(2)]
    slope = (np.array(shifted) - network(torch.from_numpy(X)).mean().item()) / step
    assert penalty == pytest.approx(GAMMA * np.square(slope / np.linalg.norm(slope) - goal[0]).mean(), rel=0.05)


def test_the_multilayer_network_has_the_hidden_units_of_the_paper() -> None:
    assert isinstance(paper_mlp(), LaatPaper) and paper_mlp().hidden == HIDDEN_UNITS
