"""The command line: one module per subcommand, each with HELP, add_arguments and run.

Modules of subcommands import nothing heavy before `run`, so that help comes at once.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from importlib import import_module

from .. import __version__
from ..bench.script import Parser, in_one_line

COMMANDS = ("demo", "bench", "export", "info", "inspect")
EXTRAS = ("demo", "bench")  # subcommands that need packages beyond the core

DESCRIPTION = """\
Fused optimizers for NumPy and PyTorch: one compiled pass over memory for each step.

fastadam is a Python library (import fastadam); this command demonstrates and benchmarks it."""

EPILOG = """\
examples:
  fastadam info                            versions, threads and the cache of this machine
  fastadam demo                            train a small network on handwritten digits
  fastadam demo --optimizer adam --lr 0.003
  fastadam bench                           time a step against NumPy and PyTorch
  fastadam bench --help                    everything that can be measured, with examples
  fastadam info --plan 7e9 --state int8    memory of training 7e9 parameters
  fastadam inspect run.safetensors         check a checkpoint and show what is in it
  fastadam export --ptx adamw              its kernel for CUDA, to launch it from any program

Optimizers are written alike everywhere: adamw, or sgd:momentum=0.9,nesterov=True.

Optional packages: pip install "fastadam[demo]", "fastadam[bench]" or "fastadam[ptx]"."""


class Formatter(argparse.ArgumentDefaultsHelpFormatter, argparse.RawDescriptionHelpFormatter):
    """Help with defaults, except for a `None` whose meaning the help text explains."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        return action.help if action.default is None else super()._get_help_string(action)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Mistakes of the user end in one line on stderr; `python -X dev -m fastadam` shows where.

    Args:
        argv: the words after `fastadam`; those of this process if left out.

    Returns:
        The exit code: 0 after success, 2 for a mistake of the user, 130 after Ctrl-C, 141 if the
        reader of the output has closed it.
    """
    try:
        code = _dispatch(argv)
        sys.stdout.flush()
        return code
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # closed pipe
        return 141


def _dispatch(argv: Sequence[str] | None) -> int:
    parser = _parser()
    try:
        arguments, strange = parser.parse_known_args(argv)
        if strange:
            getattr(arguments, "parser", parser).refuse(strange)
    except SystemExit as done:  # after --help, or a message about a wrong argument
        return int(done.code or 0)
    if arguments.command is None:
        parser.print_help(sys.stderr)
        return 2
    try:
        return int(arguments.run(arguments))
    except BrokenPipeError:
        raise
    except (ImportError, TypeError, ValueError, OSError) as error:
        if sys.flags.dev_mode:
            raise
        return _refused(arguments.command, error)


def _parser() -> Parser:
    parser = Parser(
        prog="fastadam", description=DESCRIPTION, epilog=EPILOG, formatter_class=Formatter
    )
    parser.add_argument("--version", action="version", version=f"fastadam {__version__}")
    subparsers = parser.add_subparsers(title="commands", dest="command", metavar="COMMAND")
    for name in COMMANDS:
        module = import_module(f".{name}", __name__)
        command = subparsers.add_parser(
            name,
            help=module.HELP,
            description=f"{module.HELP[0].upper()}{module.HELP[1:]}.",
            formatter_class=Formatter,
        )
        module.add_arguments(command)
        command.set_defaults(run=module.run, parser=command)
    return parser


def _refused(command: str, error: Exception) -> int:
    """Print an error in one line, with a fix if the message lacks one."""
    message = in_one_line(error).removeprefix("plan(): ")
    if isinstance(error, ModuleNotFoundError) and error.name:
        package = error.name.partition(".")[0]
        if package == "fastadam":  # an error of the library
            raise error
        extra = f"fastadam[{command}]" if command in EXTRAS else "fastadam"
        message = f'{package} is not installed; run: pip install "{extra}"'
    print(f"fastadam {command}: error: {message}", file=sys.stderr)
    return 2
