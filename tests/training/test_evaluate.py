from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from jetbench import load_architecture
from jetbench.data.cache import SegmentationData
from jetbench.data.labels import VOID
from jetbench.errors import DivergedError, SpecError
from jetbench.models.weights import SavedNetwork
from jetbench.training.evaluate import Evaluated, ImageScore, boundary_f, check_classes_of, evaluate_network

CPU = torch.device("cpu")


def saved(data: SegmentationData, **more: object) -> SavedNetwork:
    about = {
        "architecture": load_architecture("jetseg-nano"),
        "num_classes": data.info.num_classes,
        "input_size": data.info.size,
        "mean": data.mean,
        "std": data.std,
        "class_names": data.info.class_names,
        **more,
    }
    return SavedNetwork.model_validate(about)


def test_every_score_by_hand() -> None:
    """Class a: 6 of 8 right; b: 1 of 2 right; c is not in the labels."""
    scored = Evaluated(
        ("a", "b", "c"), ((6, 2, 0), (0, 1, 1), (0, 0, 0)), None,
        (ImageScore(0, 0.5), ImageScore(1, None), ImageScore(2, 0.2)),
    )  # fmt: skip
    assert scored.class_iou == (6 / 8, 1 / 4, None)
    assert scored.miou == pytest.approx((6 / 8 + 1 / 4) / 2)
    assert scored.pixel_accuracy == pytest.approx(7 / 10)
    assert scored.class_accuracy == pytest.approx((6 / 8 + 1 / 2) / 2)
    assert scored.frequency_weighted_iou == pytest.approx((6 / 8 * 8 + 1 / 4 * 2) / 10)
    assert [image.number for image in scored.worst(5)] == [2, 0]


def halves(column: int, width: int = 20) -> Tensor:
    """Class 0 left of a column, class 1 from it on."""
    return (torch.arange(width) >= column).long().expand(10, width)


@pytest.mark.parametrize(
    ("predicted", "expected"),
    [
        (halves(10), 1.0),
        (halves(11), 1.0),  # the distance of 0.75 % of the diagonal is at least one pixel
        (halves(14), 0.0),
        (torch.zeros(10, 20).long(), 0.0),
    ],
)
def test_the_boundary_score_by_hand(predicted: Tensor, expected: float) -> None:
    assert boundary_f(predicted, halves(10), 2) == expected


def test_a_boundary_that_is_found_beside_others_costs_precision() -> None:
    """A true boundary at 10; predicted boundaries at 10 and at 15, so that half of the predicted one is right."""
    predicted = halves(10).clone()
    predicted[:, 15:] = 0
    assert boundary_f(predicted, halves(10), 2) == pytest.approx(2 / 3)


def test_an_image_of_one_class_has_no_boundary_and_void_counts_for_neither_side() -> None:
    assert boundary_f(halves(10), torch.zeros(10, 20).long(), 2) is None
    target = halves(10).clone()
    target[:, 8:13] = VOID
    predicted = halves(10)
    assert boundary_f(predicted, target, 2) is None  # the classes do not meet: the true boundary is not known


def test_what_is_predicted_where_nothing_is_labelled_costs_nothing() -> None:
    """The classes meet in the upper half; below, void is between them, and the prediction goes on through it."""
    target = halves(10).clone()
    target[5:, 8:13] = VOID
    target[0] = VOID
    for columns in (8, 10, 13):
        predicted = torch.where(target == VOID, halves(columns), target)
        assert boundary_f(predicted, target, 2) == 1.0


class Truth(nn.Module):
    """Answers with the labels that belong to the batch, in order."""

    def __init__(self, labels: Tensor, num_classes: int) -> None:
        super().__init__()
        self.labels, self.num_classes, self.seen = labels, num_classes, 0

    def forward(self, images: Tensor) -> Tensor:
        ids = self.labels[self.seen : self.seen + len(images)].long()
        self.seen += len(images)
        ids = torch.where(ids == VOID, 0, ids)
        return nn.functional.one_hot(ids, self.num_classes).movedim(-1, 1).float()


def test_the_labels_themselves_score_everything(streets: SegmentationData) -> None:
    labels = torch.tensor(streets.labels["test"])
    scored = evaluate_network(Truth(labels, 11), saved(streets), streets, "test", CPU)
    assert scored.miou == scored.pixel_accuracy == scored.frequency_weighted_iou == 1.0
    assert {image.miou for image in scored.images} == {1.0}
    assert sum(scored.labelled) == int((labels != VOID).sum())


def test_images_are_normalised_as_in_the_training(streets: SegmentationData) -> None:
    seen: list[Tensor] = []

    class Spy(Truth):
        def forward(self, images: Tensor) -> Tensor:
            seen.append(images)
            return super().forward(images)

    own = saved(streets, mean=(0.0, 0.0, 0.0), std=(1.0, 2.0, 4.0))
    evaluate_network(Spy(torch.tensor(streets.labels["val"]), 11), own, streets, "val", CPU)
    pixel = torch.tensor(streets.images["val"][0, 0, 0]).float()
    assert seen[0][0, :, 0, 0].tolist() == pytest.approx((pixel / torch.tensor([1.0, 2.0, 4.0])).tolist())


def test_an_output_that_is_not_finite_has_no_score(streets: SegmentationData) -> None:
    class Broken(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return torch.full((len(images), 11, *images.shape[2:]), float("nan"))

    with pytest.raises(DivergedError, match="not finite"):
        evaluate_network(Broken(), saved(streets), streets, "test", CPU)


def test_other_classes_and_an_empty_split_are_refused(streets: SegmentationData) -> None:
    names = list(streets.info.class_names)
    check_classes_of(saved(streets), streets.info.class_names, "w")
    check_classes_of(
        saved(streets, class_names=()), streets.info.class_names, "w"
    )  # an earlier version did not say them
    with pytest.raises(SpecError, match="class 1 is 'house' there and 'building' in the data"):
        check_classes_of(saved(streets, class_names=(names[0], "house", *names[2:])), streets.info.class_names, "w")
    with pytest.raises(SpecError, match="has 3 classes, and the data have 11"):
        check_classes_of(saved(streets, num_classes=3, class_names=("a", "b", "c")), streets.info.class_names, "w")
    info = streets.info.model_copy(update={"images": {**streets.info.images, "test": 0}})
    with pytest.raises(SpecError, match="its test split has no labelled image"):
        evaluate_network(nn.Identity(), saved(streets), replace(streets, info=info), "test", CPU)
