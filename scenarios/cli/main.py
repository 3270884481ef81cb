"""The command `relbid`: the list of its commands, and how an error ends it."""

from __future__ import annotations

import contextlib
import functools
import itertools
import os
import re
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Annotated, Any, TextIO

import typer

from scenarios.cli import (
    ablation_commands as ablations,
    arena_commands as arenas,
    ask_commands as asking,
    capacity_commands as serving,
    corpus_commands as corpora,
    dashboard_command as dashboard,
    experiment_commands as experiments,
    judge_commands as judging,
    log_commands as logs,
    model_commands as models,
    replay_commands as replay,
    run_commands as runs,
    sweep_commands as sweeps,
    tuning_commands as tuning,
    why_commands as differences,
)

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"relbid {version('relbid')}")
        raise typer.Exit


PACKAGES, OURS = Path(__file__).parents[2], ("app", "scenarios", "simulator", "relevance")
"""Where the program's own packages lie, and their names."""
OUTPUTS = ("--out", "--progress", "--table", "--card", "--example", "--export")
"""Options that name what is written."""


@app.callback()
def every_command(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit."),
    ] = False,
    insist: Annotated[
        bool, typer.Option("--insist", help="Begin also what is too large for this machine.")
    ] = False,
) -> None:
    """Search-ad auctions ranked by bid, click probability and relevance."""
    if insist:
        os.environ["RELBID_INSIST"] = "1"  # which the processes of a study inherit


# In the order in which `relbid --help` shows them.
app.command("run")(runs.run)
app.command("experiment")(experiments.experiment)
app.command("why")(differences.why)
app.command("arena")(arenas.arena)
app.command("sweep")(sweeps.sweep)
app.command("report")(sweeps.report)
app.command("prepare")(runs.prepare)
app.command("ask")(asking.ask)
app.command("show")(runs.show)
app.command("tune")(tuning.tune)
app.command("schema")(runs.schema)
app.command("train")(models.train)
app.command("evaluate")(models.evaluate)
app.command("calibrate")(models.calibrate)
app.command("ablate")(ablations.ablate)
app.command("score")(corpora.score)
app.command("judge")(judging.judge)
app.command("import-weights")(models.import_weights)
app.command("replay")(replay.replay)
app.command("fit")(logs.fit)
app.command("backtest")(logs.backtest)
app.command("profile")(tuning.profile)
app.command("capacity")(serving.capacity)
app.command("app", context_settings=dashboard.STREAMLITS_OPTIONS)(dashboard.dashboard)

of_corpus = typer.Typer(help="Ads, queries and graded labels of your own.", no_args_is_help=True)
of_corpus.command("import")(corpora.import_corpus)
of_corpus.command("export")(corpora.export_corpus_tables)
of_corpus.command("evaluate")(corpora.evaluate_scorers)
app.add_typer(of_corpus, name="corpus")


@functools.cache
def command() -> Any:
    """The command line, made once of the functions' signatures."""
    return typer.main.get_command(app)


def main() -> None:
    """Entry point of the command `relbid`: exit code 2 and one message for what the user can mend."""
    before = threading.enumerate()
    try:
        _check_place(sys.argv[1:])
        code = command()(standalone_mode=False)
        if sys.stdout is not None:
            sys.stdout.flush()
    except Exception as error:
        code, message = 2, _message(error)
        if message is None:  # a defect, which keeps its traceback
            raise
        code = getattr(error, "exit_code", code)
        _say(message)
    except BaseException as error:
        if type(error).__name__ != "PanicException":  # what Polars raises where it cannot go on
            raise
        code = 2
        _say(f"relbid: Polars stopped ({_first_line(error)}); it may lack memory, threads or processes")
    _watch_threads(before)
    _flush_errors()
    sys.exit(code or 0)


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [""])[0][:300]


def _check_place(arguments: Sequence[str]) -> None:
    try:
        Path.cwd()
    except OSError:
        raise typer.BadParameter("the folder where you stand is not there any more; go to another") from None
    if "--insist" in arguments[1:]:
        raise typer.BadParameter(f"--insist: stands before the command: relbid --insist {arguments[0]} ...")
    for before, argument in itertools.pairwise(("", *arguments)):
        name = argument.partition("=")[0] if argument.startswith("--") else before
        name = name if name.startswith("--") else "an argument"
        if re.match("[\u2012-\u2015\u2212]+[a-z]", argument) and not before.startswith("--"):
            remedy = "--" + argument.lstrip("\u2012\u2013\u2014\u2015\u2212")
            raise typer.BadParameter(f"{argument}: begins with a dash that is no '-'; type {remedy}")
        if "=~/" in argument and argument.startswith("--"):
            raise typer.BadParameter(
                f"{argument}: no shell replaces '~' after '='; leave a blank for the '='"
            )
        if not argument or re.fullmatch(r"--[\w.-]+=", argument):
            raise typer.BadParameter(f"{name}: is empty; give a value, or leave it out")
        if re.search("[\ud800-\udfff]", argument):
            raise typer.BadParameter(f"{name} {argument}: is not UTF-8; rename it, or mend the locale")
    _check_outputs(arguments)


def _check_outputs(arguments: Sequence[str]) -> None:
    """Refuse to write over a file that the command line names as something to read."""
    read, written = list[str](), list[tuple[str, str]]()
    parts = iter(arguments)
    for argument in parts:
        name, equals, value = argument.partition("=")
        if name in OUTPUTS:
            written.append((name, value if equals else next(parts, "")))
        else:
            read.append(value if name.startswith("--") and equals else argument)
    for name, path in written:
        with contextlib.suppress(OSError, ValueError):  # nothing is there, or it is no name of a file
            there = Path(path)
            if there.is_file() and any(Path(one).exists() and there.samefile(one) for one in read):
                raise typer.BadParameter(f"{name} {path}: the command reads this file; name another")


def _message(error: Exception) -> str | None:
    """What the user is told; None: the error is a defect of the program."""
    from scenarios.errors import UserError, cut, in_words  # imports numpy

    if isinstance(error, UserError):
        return f"relbid: {error}"
    if isinstance(error, MemoryError) or any(part in str(error) for part in _OUT_OF_MEMORY):
        what = cut(str(error).partition("DefaultCPUAllocator: ")[2] or str(error))
        return (
            f"relbid: not enough memory ({what}); take fewer queries, candidates or ads, or a smaller model"
        )
    if hasattr(error, "format_message"):  # of the command line itself
        return _usage(error, cut)
    if isinstance(error, ValueError) and sys.stdout is not None and sys.stdout.closed:
        return "relbid: standard output: a plug-in has closed it"
    if isinstance(error, typer.Abort):  # as typer names the end of something that is read
        return "relbid: what the command reads, or a process of its own, has ended too early; try again"
    if isinstance(error, OSError):
        place = error.filename if error.filename is not None else _unwritten_output()
        return None if place is None else f"relbid: {cut(str(place))}: {in_words(error)}"
    return None


_OUT_OF_MEMORY = ("can't allocate memory", "can't start new thread", "failed to map segment")
"""What other libraries say where there is none left."""


def _usage(error: Exception, cut: Callable[[str], str]) -> str:
    context = getattr(error, "ctx", None)
    usage = f"{context.get_usage()}\nTry '{context.command_path} --help' for help.\n\n" if context else ""
    said = error.format_message().replace("Value error, ", "")  # type: ignore[attr-defined]
    for pattern, words in _OF_NUMBERS.items():
        said = re.sub(pattern, words, said)
    return f"{usage}Error: {cut(said)}"


_OF_NUMBERS = {
    r"Input should be a valid integer\b.*": "needs a whole number",
    r"Input should be a valid number\b.*": "needs a number",
    r"Input should be greater than or equal to": "must be at least",
    r"Input should be less than or equal to": "must be at most",
    r"Input should be (greater than|less than|a finite number)": r"must be \1",
}
"""What is said of an option that is no number, or none of its range, in plain words."""


def _unwritten_output() -> str | None:
    """`standard output`, or `standard error`, where that cannot be written, for instance on a full disk."""
    for name, stream in {"standard output": sys.stdout, "standard error": sys.stderr}.items():
        if stream is None or stream.closed:
            continue
        try:
            # What was to be written may be lost already, and a mere flush succeeds then.
            print(file=stream, flush=True)
        except OSError:
            _give_up(stream)
            return name
    return None


def _watch_threads(before: Collection[threading.Thread]) -> None:
    """Where threads of a plug-in go on, say that the process waits for them, and let Ctrl-C end it.

    Args:
        before: the threads that there were before the command began.
    """
    left = [one for one in threading.enumerate() if not one.daemon and one not in before]
    if not left:
        return
    from relevance.plug_in import Plugin

    plugin = Plugin("threads that a plug-in has begun")

    def wait() -> None:
        with plugin:
            for one in left:
                one.join()

    threading.Thread(target=wait, daemon=True).start()
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # without a traceback
        signal.signal(signal.SIGINT, signal.SIG_DFL)


def thread_failed(told: set[str], failed: threading.ExceptHookArgs) -> None:
    """Say in a line, once, that a thread has failed which is not the program's own.

    Args:
        told: what has been said.
    """
    frames = traceback.extract_tb(failed.exc_traceback)
    file = Path(frames[-1].filename) if frames else None
    if file is None or any(file.is_relative_to(PACKAGES / name) for name in OURS):
        threading.__excepthook__(failed)
        return
    what, place = f"{failed.exc_type.__name__}: {failed.exc_value}", f"{file.name}, line {frames[-1].lineno}"
    line = f"relbid: a thread that a plug-in has begun failed: {what} ({place})"
    if line not in told:
        told.add(line)
        _say(line)


def _flush_errors() -> None:
    """Where standard error cannot be written, the exit code still says how it went."""
    if sys.stderr is not None and not sys.stderr.closed:
        try:
            sys.stderr.flush()
        except OSError:
            _give_up(sys.stderr)


def _give_up(stream: TextIO) -> None:
    """What could not be written is not tried again at the end."""
    with Path(os.devnull).open("w") as nothing:
        os.dup2(nothing.fileno(), stream.fileno())


def _say(message: str) -> None:
    """Print a message, whatever characters a user's texts have brought into it."""
    for stream in (sys.stderr, sys.__stderr__):
        # A plug-in may have taken the first away, closed it, or replaced it; the exit code says it, too.
        with contextlib.suppress(Exception):
            coding = stream.encoding or "utf-8"  # type: ignore[union-attr]
            print(message.encode(coding, "backslashreplace").decode(coding), file=stream)
            return


if __name__ == "__main__":
    main()
