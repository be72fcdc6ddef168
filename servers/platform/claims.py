"""Rooms that require a claim: without it, a client can neither read, join nor publish in them."""

from collections.abc import Mapping

from servers.gate.auth import Identity, may_enter
from servers.gate.errors import Refusal


class RoomClaims:
    """The claim that each such room requires; all other rooms are open to everybody."""

    def __init__(self, required: Mapping[str, str]) -> None:
        self.required = required

    def lacking(self, identity: Identity, room: str) -> str:
        """The claim that a room requires and the identity does not hold; empty if there is none."""
        claim = self.required.get(room, "")
        return "" if not claim or may_enter(identity, claim) else claim

    def check(self, identity: Identity, room: str) -> None:
        """Raises ``Refusal`` if the identity lacks the claim that the room requires."""
        if claim := self.lacking(identity, room):
            raise Refusal("not_allowed", f"room {room!r} requires the claim {claim!r}")
