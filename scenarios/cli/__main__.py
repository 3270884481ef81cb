"""`python -m scenarios.cli` is the command `relbid`."""

from scenarios.cli.main import main

main()
