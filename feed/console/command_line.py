"""What every command does around its ``main``: standard streams that are closed, full or broken, and Ctrl-C.

Python's own streams report a failed write wherever it happens to come up: as a traceback, as ``Exception ignored``
with exit code 120 when the interpreter ends, or, beside sockets, as if the network had failed.
"""

import errno
import importlib
import io
import os
import select
import signal
import sys
from typing import TYPE_CHECKING, Final, NoReturn, TextIO

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

STDIN, STDOUT, STDERR = range(3)
INTERRUPTED: Final = 128 + signal.SIGINT
"""Exit code after Ctrl-C."""
BROKEN_PIPE: Final = 128 + signal.SIGPIPE
"""Exit code when the reader of standard output has had enough: that which a shell shows of cat, grep and git."""


class OutputError(Exception):
    """Standard output cannot be written. No ``OSError``, which those who hold a connection would take for its end."""


class _Output(io.FileIO):
    """Standard output or error. Of failures the first is told, if at all; after it nothing is written any more."""

    def __init__(self, descriptor: int, tells: bool) -> None:
        super().__init__(descriptor, "w", closefd=False)
        self._tells = tells
        self.error: OSError | None = None

    def write(self, data: "ReadableBuffer", /) -> int:
        """What the kernel takes of it. Raises ``OutputError`` once, if this stream tells of failures."""
        if self.error is not None:
            return memoryview(data).nbytes
        try:
            while (written := super().write(data)) is None:  # another process made what it shares with us non-blocking
                select.select((), (self,), ())
            return written
        except OSError as error:
            self.error = error
            if self._tells:
                raise OutputError(f"cannot write to stdout: {error.strerror}") from error
            return memoryview(data).nbytes


def run(module: str, prog_name: str, *, outlives_output: bool = False) -> NoReturn:
    """Run the click command ``main`` of ``module``, imported only once the standard streams are sound; then exit.

    A closed descriptor becomes ``/dev/null``. If standard output cannot be written the command ends with one line on
    standard error and exit code 1, or quietly with ``BROKEN_PIPE``; one that ``outlives_output`` first does its work.
    A message that standard error does not take is lost. A failure of the command itself keeps its exit code. What an
    encoding lacks is replaced; an argument that is no text in the locale's encoding is refused.
    """
    _fill_closed_descriptors()
    sys.stderr = _text(_Output(STDERR, tells=False), sys.stderr, errors="backslashreplace", by_line=True)
    output = _Output(STDOUT, tells=not outlives_output)
    sys.stdout = _text(output, sys.stdout, errors="replace")
    code: str | int | None = None
    untold = outlives_output
    try:
        _check_arguments()
        importlib.import_module(module).main(prog_name=prog_name)
    except SystemExit as end:
        code = end.code
    except OutputError:
        untold = True
    except KeyboardInterrupt:  # while importing, which takes a while; click has an end of its own for later ones
        code = INTERRUPTED
    try:
        sys.stdout.flush()
    except OutputError:
        untold = True
    failed = _tell(output.error) if untold and output.error else 0
    sys.exit(code or failed)


def stdout_is_broken() -> bool:
    """Has a write to standard output failed?"""
    raw = getattr(getattr(sys.stdout, "buffer", None), "raw", None)
    return isinstance(raw, _Output) and raw.error is not None


def _fill_closed_descriptors() -> None:
    """Before a file or a socket takes their numbers: libuv aborts on closing a socket that is one of the three."""
    for descriptor in (STDIN, STDOUT, STDERR):
        try:
            os.fstat(descriptor)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # the lowest free number, which is this one


def _check_arguments() -> None:
    """Exit with 2 if one is no text: what is sent, recorded as JSON and shown could not be (PEP 383)."""
    for argument in sys.argv[1:]:
        if not argument.isascii() and any("\ud800" <= sign <= "\udfff" for sign in argument):
            encoding = sys.getfilesystemencoding()
            print(f"Error: {argument!a} is no text in this locale: allowed is {encoding}", file=sys.stderr)
            sys.exit(2)


def _text(raw: _Output, instead_of: TextIO | None, errors: str, by_line: bool = False) -> io.TextIOWrapper:
    """``instead_of``, over ``raw``: it is ``None`` where Python found the descriptor closed."""
    buffer = io.BufferedWriter(raw)
    if not isinstance(instead_of, io.TextIOWrapper):
        return io.TextIOWrapper(buffer, "utf-8", errors)
    by_line = by_line or instead_of.line_buffering or instead_of.write_through
    return io.TextIOWrapper(buffer, instead_of.encoding, errors, line_buffering=by_line)


def _tell(error: OSError) -> int:
    """Say in one line why standard output could not be written. Returns the exit code."""
    if error.errno == errno.EPIPE:
        return BROKEN_PIPE
    print(f"Error: cannot write to stdout: {error.strerror}", file=sys.stderr)
    return 1
