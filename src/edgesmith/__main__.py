"""``python -m edgesmith``: the command line."""

from edgesmith.cli import main

main()
