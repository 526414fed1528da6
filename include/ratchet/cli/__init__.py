"""The command line: one verb a command, `--json` for scripts, an example in every `--help`."""
