import pytest

from jetbench.network.rules import common_divisors, eca_kernel, mean_divisor, pyramid_levels


def test_levels_halve_rounding_up_until_one_is_small_enough() -> None:
    assert pyramid_levels((512, 512), 16) == (512, 256, 128, 64, 32, 16)
    assert pyramid_levels((720, 960), 16) == (960, 480, 240, 120, 60, 30, 15)
    assert pyramid_levels((480, 360), 16) == (480, 240, 120, 60, 30, 15)


def test_mean_divisor_takes_the_nearest_to_the_mean_and_the_smaller_on_a_tie() -> None:
    assert mean_divisor((1, 2, 4, 8)) == 4  # mean 3.75
    assert mean_divisor((1, 2)) == 1  # mean 1.5, a tie
    assert mean_divisor((1, 3)) == 1  # mean 2, a tie
    assert mean_divisor((1, 2, 3, 4, 6, 12)) == 4  # mean 4.67
    assert common_divisors(48, 64) == (1, 2, 4, 8, 16)


@pytest.mark.parametrize(
    ("channels", "kernel"), [(8, 3), (16, 3), (32, 3), (48, 3), (64, 3), (128, 5), (256, 5), (512, 5)]
)
def test_ecas_kernel_is_odd_and_grows_with_the_logarithm_of_the_channels(channels: int, kernel: int) -> None:
    assert eca_kernel(channels) == kernel
