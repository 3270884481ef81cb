"""Hostile input by the thousand, made of what the program itself says that it reads.

Each case is one command with one thing wrong: a field of a schema, an option of the command line, a file, a
plug-in. Fields come from the schemas, options from the argument parser, files from a folder in which every
file is one that some command reads. So what is new is covered because it exists.

`python -m benchmarks.fuzz --cases 20000` runs them and prints what it finds, by group.
"""
