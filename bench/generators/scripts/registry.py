"""Scripts by name."""

from typing import Final

from bench.generators.scripts.chat import Chat
from bench.generators.scripts.collab import Collab
from bench.generators.scripts.game import Game
from bench.generators.scripts.notifications import Notifications
from bench.generators.scripts.script import Script
from bench.generators.scripts.ticker import Ticker
from bench.generators.scripts.tokens import Tokens

SCRIPTS: Final[dict[str, type[Script]]] = {
    "chat": Chat,
    "collab": Collab,
    "game": Game,
    "notifications": Notifications,
    "ticker": Ticker,
    "tokens": Tokens,
}
