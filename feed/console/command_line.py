"""What every command does around its ``main``: it handles closed, full or broken standard streams, and Ctrl-C.

Python's own streams report a failed write in three ways: as a traceback, as ``Exception ignored`` with exit code 120
when the interpreter ends, or, in code that uses sockets, as if the network had failed.
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
"""Exit code when the reader of standard output has closed it, as a shell shows it of cat, grep and git."""


class OutputError(Exception):
    """Standard output cannot be written. It is no ``OSError``, which code with a connection takes for its end."""


class _Output(io.FileIO):
    """Standard output or error. Nothing is written after the first failure, which is raised if ``raises`` is set."""

    def __init__(self, descriptor: int, raises: bool) -> None:
        super().__init__(descriptor, "w", closefd=False)
        self._raises = raises
        self.error: OSError | None = None

    def write(self, data: "ReadableBuffer", /) -> int:
        """Number of bytes that the kernel takes. Raises ``OutputError`` for the first failure, if ``raises`` is set."""
        if self.error is not None:
            return memoryview(data).nbytes
        try:
            while (written := super().write(data)) is None:  # another process made what it shares with us non-blocking
                select.select((), (self,), ())
            return written
        except OSError as error:
            self.error = error
            if self._raises:
                raise OutputError(f"cannot write to stdout: {error.strerror}") from error
            return memoryview(data).nbytes


def run(module: str, prog_name: str, *, outlives_output: bool = False) -> NoReturn:
    """Run the click command ``main`` of ``module``, which is imported once the standard streams are sound; then exit.

    A closed descriptor becomes ``/dev/null``. If standard output cannot be written, the command ends with one line on
    standard error and exit code 1, or quietly with ``BROKEN_PIPE``; with ``outlives_output`` it finishes its work
    first. A message that standard error does not take is lost. A failure of the command itself keeps its exit code.
    Characters that an encoding lacks are replaced; an argument that is no text in the locale's encoding is refused.
    """
    _fill_closed_descriptors()
    sys.stderr = _text(_Output(STDERR, raises=False), sys.stderr, errors="backslashreplace", by_line=True)
    output = _Output(STDOUT, raises=not outlives_output)
    sys.stdout = _text(output, sys.stdout, errors="replace")
    code: str | int | None = None
    must_report = outlives_output
    try:
        _check_arguments()
        importlib.import_module(module).main(prog_name=prog_name)
    except SystemExit as end:
        code = end.code
    except OutputError:
        must_report = True
    except KeyboardInterrupt:  # while importing; click handles later ones
        code = INTERRUPTED
    try:
        sys.stdout.flush()
    except OutputError:
        must_report = True
    failed = _report(output.error) if must_report and output.error else 0
    sys.exit(code or failed)


def stdout_is_broken() -> bool:
    """Has a write to standard output failed?"""
    raw = getattr(getattr(sys.stdout, "buffer", None), "raw", None)
    return isinstance(raw, _Output) and raw.error is not None


def _fill_closed_descriptors() -> None:
    """Open closed descriptors before a file or socket takes their numbers: libuv aborts on closing such a socket."""
    for descriptor in (STDIN, STDOUT, STDERR):
        try:
            os.fstat(descriptor)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # the lowest free number, which is this one


def _check_arguments() -> None:
    """Exit with 2 if an argument is no text (PEP 383), as it could not be sent, recorded as JSON or shown."""
    for argument in sys.argv[1:]:
        if not argument.isascii() and any("\ud800" <= sign <= "\udfff" for sign in argument):
            encoding = sys.getfilesystemencoding()
            print(f"Error: {argument!a} is no text in this locale: allowed is {encoding}", file=sys.stderr)
            sys.exit(2)


def _text(raw: _Output, instead_of: TextIO | None, errors: str, by_line: bool = False) -> io.TextIOWrapper:
    """A text stream over ``raw`` like ``instead_of``, which is ``None`` if Python found the descriptor closed."""
    buffer = io.BufferedWriter(raw)
    if not isinstance(instead_of, io.TextIOWrapper):
        return io.TextIOWrapper(buffer, "utf-8", errors)
    by_line = by_line or instead_of.line_buffering or instead_of.write_through
    return io.TextIOWrapper(buffer, instead_of.encoding, errors, line_buffering=by_line)


def _report(error: OSError) -> int:
    """Print in one line why standard output could not be written. Returns the exit code."""
    if error.errno == errno.EPIPE:
        return BROKEN_PIPE
    print(f"Error: cannot write to stdout: {error.strerror}", file=sys.stderr)
    return 1
