"""Runs the command line as ``python -m gmc``."""

from gmc.cli import main

if __name__ == "__main__":
    main(prog_name="gmc")
