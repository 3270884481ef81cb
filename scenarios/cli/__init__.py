"""The commands of `relbid`, one file per group; `scenarios.cli.main` lists them.

A command is a function that typer reads options from. It imports what it needs when it is called, so that
`relbid --help` loads typer and nothing else; options that several commands share are in `options`.
"""
