"""Run the command line: python -m trimodal."""

from .cli import main

main()
