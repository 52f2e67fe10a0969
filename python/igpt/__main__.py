"""The program `igpt`: ``python -m igpt demo`` is ``igpt demo``."""

import signal
import sys

from ._igpt import main as _main


def main() -> None:
    """Run the program with the arguments of this process."""
    # The program has handlers of its own; Python's would never run while it computes.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    sys.exit(_main(["igpt", *sys.argv[1:]]))


if __name__ == "__main__":
    main()
