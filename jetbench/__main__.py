"""python -m jetbench, and the command jetbench."""

import signal
import sys


def main() -> None:
    """Load the command line and run it; Ctrl-C while it loads is a stop like any other, and SIGTERM is Ctrl-C."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that nothing is lost when a batch system stops it
    try:
        from jetbench.cli import main as run
    except KeyboardInterrupt:
        print("Stopped.", file=sys.stderr)
        sys.exit(130)
    run()


if __name__ == "__main__":
    main()
