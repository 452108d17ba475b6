"""The blocks of JetSeg as torch modules, one file per concept; `build.py` builds every network."""
