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

    @property
    def processor(self) -> str:
        """The machine's processor in a line: model, clock, cores that the run had, kernel; what is not known is left
        out."""
        model, mhz, cores = (self.host.get(name) for name in ("cpu_model", "cpu_mhz", "cores"))
        if not model:
            return "processor not recorded"
        clock = f"{str(mhz).partition('.')[0]} MHz" if mhz else ""
        count = f"{len(cores)} core{'s'[: len(cores) != 1]}" if isinstance(cores, list) else ""
        return ", ".join(filter(None, (str(model), clock, count, str(self.host.get("system", "")))))
