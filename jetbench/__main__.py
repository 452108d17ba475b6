"""python -m jetbench."""

from jetbench.cli import main

main()
