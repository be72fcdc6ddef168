"""``python -m tests.helpers.serve OPTIONS``: a server with any ``ServerOptions``, also those no command line sets."""

import asyncio
import sys
import tempfile
from pathlib import Path

import msgspec
import uvloop

from servers.gate.secrets import load_secrets
from servers.platform.options import ServerOptions
from servers.process.app import run
from servers.process.serve import announce

if __name__ == "__main__":
    options = msgspec.json.decode(sys.argv[1], type=ServerOptions)
    with (
        tempfile.TemporaryDirectory(prefix="pushmark-test-") as folder,
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
    ):
        secrets = load_secrets(options.auth, None, options.tls, None, None, Path(folder))
        runner.run(run(options, secrets, None, announce))
