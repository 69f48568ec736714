"""`python -m genloss` is the `genloss` command."""

from genloss.cli.app import main

main()
