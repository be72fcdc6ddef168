"""What every file of results says about where it comes from. Pure."""

from typing import Final

import msgspec

SCHEMA_VERSION: Final = 2


class Provenance(msgspec.Struct):
    """Where a file of results comes from. ``finished`` is false if the run was interrupted; what was measured until
    then is there."""

    schema_version: int
    pushmark_version: str
    created_at: str
    finished: bool
    command: list[str]
    host: dict[str, object]
    versions: dict[str, str]
    options: dict[str, object]
