"""The larger commands of `mssedu`, a file each; `mssedu.cli` is the list of all."""
