"""The command `mssedu`: one file per command."""

from mssedu.cli.commands import main

__all__ = ["main"]
