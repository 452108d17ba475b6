import pytest
import torch
from torch import Tensor, nn

from jetbench.data.labels import VOID
from jetbench.errors import DivergedError
from jetbench.training.metrics import class_counts, confusion_matrix, confusion_over


def as_logits(predicted: Tensor, num_classes: int) -> Tensor:
    return nn.functional.one_hot(predicted, num_classes).movedim(-1, 1).float()


def test_a_confusion_matrix_by_hand() -> None:
    target = torch.tensor([[[0, 0, 1, VOID]]])
    predicted = torch.tensor([[[0, 1, 1, 2]]])
    matrix = confusion_matrix(as_logits(predicted, 3), target)
    assert matrix.tolist() == [[1, 1, 0], [0, 1, 0], [0, 0, 0]]
    counts = class_counts(matrix)
    assert counts.class_iou == (0.5, 0.5, None)
    assert counts.miou == 0.5


def test_predicting_an_absent_class_costs_the_classes_it_takes_from_but_adds_no_row_to_the_mean() -> None:
    target = torch.tensor([[[0, 0, 1, 1]]])
    counts = class_counts(confusion_matrix(as_logits(torch.tensor([[[0, 2, 1, 1]]]), 3), target))
    assert counts.class_iou == (0.5, 1.0, None)


def test_miou_is_of_the_whole_split_and_not_a_mean_over_batches() -> None:
    class Copy(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return as_logits(images[:, 0].long(), 2)

    # One batch all right in class 0, one half right in class 1 and void of class 0.
    first = (torch.zeros(1, 3, 1, 4), torch.zeros(1, 1, 4, dtype=torch.long))
    second = (torch.tensor([1.0, 1.0, 0.0, 0.0]).expand(1, 3, 1, 4), torch.ones(1, 1, 4, dtype=torch.long))
    model = Copy().train()
    counts = class_counts(confusion_over(model, [first, second], 2))
    assert counts.class_iou == (4 / 6, 2 / 4)
    assert model.training


def test_an_output_that_is_not_finite_is_no_prediction() -> None:
    class Broken(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return torch.full((1, 2, 1, 4), float("nan"))

    with pytest.raises(DivergedError, match="not finite during evaluation"):
        confusion_over(Broken(), [(torch.zeros(1, 3, 1, 4), torch.zeros(1, 1, 4, dtype=torch.long))], 2)


def test_a_perfect_and_a_random_prediction() -> None:
    torch.manual_seed(0)
    target = torch.randint(0, 5, (2, 40, 40))
    assert class_counts(confusion_matrix(as_logits(target, 5), target)).miou == 1
    random = class_counts(confusion_matrix(torch.randn(2, 5, 40, 40), target)).miou
    assert random == pytest.approx(1 / 9, abs=0.02)  # hits 1/5 of either, union 9/25
