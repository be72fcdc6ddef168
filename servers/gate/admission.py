"""Admission of connections: the user, the origin of the page, and the limits."""

from typing import NamedTuple

from starlette.types import Scope

from servers.gate.auth import ANONYMOUS, Authenticator, Identity, find_token
from servers.gate.errors import Refusal
from servers.gate.limits import Limits
from servers.gate.logs import log_refused
from servers.gate.origins import Origins


class Admission(NamedTuple):
    """What decides on connections; one for all transports and namespaces of a server."""

    authenticator: Authenticator | None
    """``None``: every user is anonymous."""
    origins: Origins
    limits: Limits

    def identify(self, scope: Scope, token: str = "") -> Identity:
        """The user of a request, by ``token`` if that is given, else by the request's own. Raises ``Refusal``."""
        if self.authenticator is None:
            return ANONYMOUS
        try:
            return self.authenticator.identify(token) if token else self.authenticator.identify(*find_token(scope))
        except Refusal as refusal:
            log_refused(address_of(scope), refusal.code)
            raise

    def admit(self, address: str, user: str) -> None:
        """Count a connection that is about to be accepted. Raises ``Refusal`` if there are too many."""
        try:
            self.limits.admit(address, user)
        except Refusal as refusal:
            log_refused(address, refusal.code)
            raise

    def renewed(self, token: str) -> Identity:
        """The user of a token that replaces another. Raises ``Refusal``."""
        return ANONYMOUS if self.authenticator is None else self.authenticator.identify(token)


def address_of(scope: Scope) -> str:
    """The client's address without its port; empty if it is not known."""
    client = scope.get("client")
    return client[0] if client else ""
