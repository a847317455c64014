"""Command lines of programs: readers of their arguments, and mistakes in one line each."""

import argparse
import math
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryFile
from typing import NoReturn, Protocol, TypeVar

from .console import say


class Labelled(Protocol):
    """A case of a benchmark."""

    @property
    def label(self) -> str:
        """Its name in tables."""


Case = TypeVar("Case", bound=Labelled)


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one line that points to the help."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: error: {message}; see {self.prog} --help\n")

    def refuse(self, words: Sequence[str]) -> NoReturn:
        """Refuse unknown words; the first may be a misspelt option."""
        from ..validation import meant_by

        close = meant_by(words[0].partition("=")[0], self._option_string_actions)
        meant = f" (did you mean {close}?)" if close else ""
        self.error(f"unrecognized arguments: {' '.join(words)}{meant}")


def at_least(least: int) -> Callable[[str], int]:
    """A reader of whole numbers that are not less; for `type=`."""

    def integer(text: str) -> int:
        number = int(text)
        if number < least:
            raise argparse.ArgumentTypeError(f"{number} is less than {least}")
        return number

    return integer


def positive(text: str) -> float:
    """A number above zero that is finite; for `type=`."""
    number = float(text)
    if not 0 < number < math.inf:
        raise argparse.ArgumentTypeError(f"{text} is not a positive number")
    return number


def add_timing(
    add: Callable[..., object], seconds: float = 10.0, of: str = "for each case"
) -> None:
    """Add `--seconds` and `--rounds`, of the time that measuring takes."""
    add(
        "--seconds",
        type=positive,
        default=seconds,
        metavar="S",
        help=f"{of} (default: {seconds:g})",
    )
    add("--rounds", type=at_least(1), metavar="N", help="make so many rounds instead")


def add_csv(add: Callable[..., object]) -> None:
    """Add `--csv`, for the file to which the numbers go."""
    text = "write the numbers, with machine and versions"
    add("--csv", type=output_file, metavar="FILE", help=text)


def existing_folder(text: str) -> Path:
    """A folder that exists; for `type=`."""
    path = Path(text).expanduser()
    if not path.is_dir():
        raise argparse.ArgumentTypeError(f"there is no folder {text!r}")
    return path


def output_file(text: str) -> Path:
    """A file that can be written; for `type=`."""
    path = Path(text).expanduser()
    try:
        check_writable("", path)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error).removeprefix(": ")) from None
    return path


def check_writable(option: str, path: Path) -> None:
    """Refuse a file that cannot be written, before the work that it is for.

    A file that exists is not changed. A device, such as /dev/stdout, gets a comment line.

    Raises:
        ValueError: naming the option and the file.
    """
    if path.is_dir():
        raise ValueError(f"{option}: {str(path)!r} is a folder; give the name of a file in it")
    if not path.absolute().parent.is_dir():
        raise ValueError(f"{option}: the folder of {str(path)!r} does not exist; create it")
    try:
        if path.exists() and not path.is_file():
            with path.open("w") as device:
                device.write("# fastadam\n")
        elif path.exists():
            if not os.access(path, os.W_OK):
                raise PermissionError("it is read-only")
        else:
            with TemporaryFile(dir=path.absolute().parent) as probe:
                probe.write(bytes(1 << 16))
    except OSError as error:
        reason = error.strerror or str(error)
        raise ValueError(f"{option}: {str(path)!r} cannot be written: {reason}") from None


def cases_with(text: str, cases: Sequence[Case]) -> list[Case]:
    """The cases with a text in their label.

    Raises:
        ValueError: if there are none.
    """
    found = [case for case in cases if text in case.label]
    if not found:
        labels = "; ".join(case.label for case in cases)
        raise ValueError(f"--cases: no label has {text!r}; the labels are {labels}")
    return found


def in_one_line(error: BaseException) -> str:
    """The message of an error without line breaks."""
    if isinstance(error, OSError) and error.filename and error.strerror:
        return f"{error.filename!r}: {error.strerror}"
    return " ".join(str(error).split())


def run_script(main: Callable[[], int | None]) -> NoReturn:
    """Run a program; mistakes of the user end in one line on stderr.

    `python -X dev` shows where they come from. The exit status is 0 after success, 2 after a
    mistake, 130 after Ctrl-C.
    """
    try:
        sys.exit(main() or 0)
    except KeyboardInterrupt:
        sys.exit(130)
    except (ImportError, TypeError, ValueError, OSError) as error:
        if sys.flags.dev_mode:
            raise
        say(f"{Path(sys.argv[0]).name}: error: {in_one_line(error)}")
        sys.exit(2)
