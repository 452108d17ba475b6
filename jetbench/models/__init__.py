"""The paper's blocks as torch modules, one file per concept; `build.py` is the one door."""
