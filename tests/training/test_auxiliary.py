import math

import pytest
import torch
import torch.nn.functional as F

from jetbench.data.labels import VOID
from jetbench.training.auxiliary import edge_loss, edges_of, joint_loss


def two_halves() -> torch.Tensor:
    target = torch.zeros(1, 6, 8, dtype=torch.long)
    target[..., 4:] = 3
    return target


def test_edges_are_where_two_classes_touch() -> None:
    edges = edges_of(two_halves())
    assert edges[0, 2].tolist() == [False, False, False, True, True, False, False, False]


def test_void_is_no_class_and_makes_no_edge() -> None:
    target = two_halves()
    target[..., 3:5] = VOID
    assert not edges_of(target).any()
    assert not edges_of(torch.full((1, 4, 4), VOID)).any()


def test_the_edge_loss_of_an_undecided_head_weighs_edges_and_the_rest_alike() -> None:
    target = two_halves()  # a quarter of the pixels are edges
    assert float(edge_loss(torch.zeros(1, 1, 6, 8), target)) == pytest.approx(math.log(2))
    sure = torch.where(edges_of(target), 0.0, -50.0).unsqueeze(1)
    assert float(edge_loss(sure, target)) == pytest.approx(math.log(2) / 2)


def test_the_edge_loss_falls_where_edges_are_found_and_ignores_void() -> None:
    target = two_halves()
    right = torch.where(edges_of(target), 5.0, -5.0).unsqueeze(1)
    assert edge_loss(right, target) < 0.05 * edge_loss(-right, target)
    target[:, 0] = VOID
    changed = right.clone()
    changed[:, :, 0] = 100.0
    assert edge_loss(changed, target) == edge_loss(right, target)


def test_the_joint_loss_adds_each_head_by_its_weight() -> None:
    torch.manual_seed(0)
    target = two_halves()
    logits, auxiliary, edges = torch.randn(1, 5, 6, 8), torch.randn(1, 5, 6, 8), torch.randn(1, 1, 6, 8)
    total = joint_loss((logits, auxiliary, edges), target, (0.4, 20.0), F.cross_entropy)
    expected = F.cross_entropy(logits, target) + 0.4 * F.cross_entropy(auxiliary, target)
    assert float(total) == pytest.approx(float(expected + 20 * edge_loss(edges, target)))
    assert float(joint_loss((logits,), target, (), F.cross_entropy)) == float(F.cross_entropy(logits, target))
