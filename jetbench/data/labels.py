"""Labels: the 11 and 32 classes of CamVid, their colours, and one decoded Sample."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

VOID = 255
"""The id of pixels without a class in decoded labels; every loss and every score ignores them."""

CLASSES_11 = (
    "sky",
    "building",
    "pole",
    "road",
    "pavement",
    "tree",
    "sign",
    "fence",
    "car",
    "pedestrian",
    "bicyclist",
)
VOID_RULE_11 = "void pixels ignored"

# Colours of the 11 classes in pictures; void is drawn black.
COLOURS_11 = (
    (128, 128, 128),
    (128, 0, 0),
    (192, 192, 128),
    (128, 64, 128),
    (0, 0, 192),
    (128, 128, 0),
    (192, 128, 128),
    (64, 64, 128),
    (64, 0, 128),
    (64, 64, 0),
    (0, 128, 192),
)

# The original 32 colour-coded classes (Brostow et al., 2008), in alphabetical order, as JetSeg numbers them.
COLOURS_32: dict[str, tuple[int, int, int]] = {
    "Animal": (64, 128, 64),
    "Archway": (192, 0, 128),
    "Bicyclist": (0, 128, 192),
    "Bridge": (0, 128, 64),
    "Building": (128, 0, 0),
    "Car": (64, 0, 128),
    "CartLuggagePram": (64, 0, 192),
    "Child": (192, 128, 64),
    "Column_Pole": (192, 192, 128),
    "Fence": (64, 64, 128),
    "LaneMkgsDriv": (128, 0, 192),
    "LaneMkgsNonDriv": (192, 0, 64),
    "Misc_Text": (128, 128, 64),
    "MotorcycleScooter": (192, 0, 192),
    "OtherMoving": (128, 64, 64),
    "ParkingBlock": (64, 192, 128),
    "Pedestrian": (64, 64, 0),
    "Road": (128, 64, 128),
    "RoadShoulder": (128, 128, 192),
    "Sidewalk": (0, 0, 192),
    "SignSymbol": (192, 128, 128),
    "Sky": (128, 128, 128),
    "SUVPickupTruck": (64, 128, 192),
    "TrafficCone": (0, 0, 64),
    "TrafficLight": (0, 64, 64),
    "Train": (192, 64, 128),
    "Tree": (128, 128, 0),
    "Truck_Bus": (192, 128, 192),
    "Tunnel": (64, 0, 64),
    "VegetationMisc": (192, 192, 0),
    "Void": (0, 0, 0),
    "Wall": (64, 192, 0),
}
CLASSES_32 = tuple(COLOURS_32)
MEMBERS_OF_11: dict[str, tuple[str, ...]] = {
    "sky": ("Sky",),
    "building": ("Building", "Bridge", "Wall", "Tunnel", "Archway"),
    "pole": ("Column_Pole", "TrafficCone"),
    "road": ("Road", "LaneMkgsDriv", "LaneMkgsNonDriv"),
    "pavement": ("Sidewalk", "ParkingBlock", "RoadShoulder"),
    "tree": ("Tree", "VegetationMisc"),
    "sign": ("SignSymbol", "Misc_Text", "TrafficLight"),
    "fence": ("Fence",),
    "car": ("Car", "SUVPickupTruck", "Truck_Bus", "Train", "OtherMoving"),
    "pedestrian": ("Pedestrian", "Child", "CartLuggagePram", "Animal"),
    "bicyclist": ("Bicyclist", "MotorcycleScooter"),
}
"""The 32 classes in each of the 11, as SegNet's authors merged them (Badrinarayanan et al., 2017)."""
VOID_RULE_32 = "Void is class 30: it has a logit, and its pixels are ignored"


@dataclass(frozen=True)
class Sample:
    """One image, uint8 (H, W, 3), with its labels, uint8 (H, W); or the problem that makes its files unusable."""

    image: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.uint8]
    problem: str | None = None

    @classmethod
    def broken(cls, problem: str) -> "Sample":
        """A sample that cannot be used, with the reason."""
        return cls(np.zeros((0, 0, 3), np.uint8), np.zeros((0, 0), np.uint8), problem)
