"""What stands before every connection: where it comes from, who it is, and whether there is room for it."""

from typing import NamedTuple

from starlette.types import Scope

from servers.gate.auth import ANONYMOUS, Authenticator, Identity, find_token
from servers.gate.errors import Refusal
from servers.gate.limits import Limits
from servers.gate.logs import log_refused
from servers.gate.origins import Origins


class Gate(NamedTuple):
    """One for all transports and namespaces of a server."""

    authenticator: Authenticator | None
    """``None``: everybody is anonymous."""
    origins: Origins
    limits: Limits

    def identify(self, scope: Scope, said: str = "") -> Identity:
        """Who asks: by the token it ``said``, or by that of the request. Raises ``Refusal``."""
        if self.authenticator is None:
            return ANONYMOUS
        try:
            return self.authenticator.identify(said) if said else self.authenticator.identify(*find_token(scope))
        except Refusal as refusal:
            log_refused(address_of(scope), refusal.code)
            raise

    def admit(self, address: str, user: str) -> None:
        """Count a connection that is about to be accepted. Raises ``Refusal`` where there are too many."""
        try:
            self.limits.admit(address, user)
        except Refusal as refusal:
            log_refused(address, refusal.code)
            raise

    def renewed(self, token: str) -> Identity:
        """Who holds a token that comes in the place of another. Raises ``Refusal``."""
        return ANONYMOUS if self.authenticator is None else self.authenticator.identify(token)


def address_of(scope: Scope) -> str:
    """The peer's address, without its port."""
    client = scope.get("client")
    return client[0] if client else ""
