"""Scenarios by name, in the order in which ``python -m bench scenario all`` measures them."""

from typing import Final

from bench.scenarios.chat import CHAT
from bench.scenarios.collab import COLLAB
from bench.scenarios.game import GAME
from bench.scenarios.notifications import NOTIFICATIONS
from bench.scenarios.scenario import Scenario
from bench.scenarios.ticker import TICKER
from bench.scenarios.tokens import TOKENS

SCENARIOS: Final[dict[str, Scenario]] = {one.name: one for one in (CHAT, COLLAB, GAME, NOTIFICATIONS, TICKER, TOKENS)}
