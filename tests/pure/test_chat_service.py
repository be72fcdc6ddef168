"""What the chat and its store do at their bounds, without a server."""

import asyncio
import json
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest

from servers.gate.auth import Identity
from servers.gate.errors import Refusal
from servers.hub.hub import Hub
from servers.platform.connections import Connection, Connections
from servers.platform.requests import STORE_RETRY_S, _failures_of
from servers.platform.service import ServiceContext, Shared
from servers.services import chat
from servers.store.contract import KeyReusedError, StoreBusyError, StoreError
from servers.store.file import StoreFile
from servers.store.sqlite import SqliteStore


@pytest.mark.parametrize(
    ("error", "code", "retry_after_s"),
    [
        (StoreBusyError("10000 writes wait"), "store_busy", STORE_RETRY_S),
        (StoreError("/secret/path: full"), "store_failed", None),
        (KeyReusedError("another record has the key 'k'"), "id_reused", None),
        (OverflowError("too large"), "internal_error", None),
    ],
)
def test_a_stores_error_is_a_refusal_that_names_no_file(error: Exception, code: str, retry_after_s: float) -> None:
    with pytest.raises(Refusal) as caught, _failures_of("chat"):
        raise error
    assert (caught.value.code, caught.value.retry_after_s) == (code, retry_after_s)
    assert "/secret" not in caught.value.message


def test_the_newest_messages_of_a_room_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chat, "KEPT", 6)
    monkeypatch.setattr(chat, "TRIM_EVERY", 4)

    async def body() -> list[list[int]]:
        store = SqliteStore(StoreFile(tmp_path / "s.db"))
        connection = Connection(Identity("ann"), "127.0.0.1")
        connection.rooms = ("tea",)
        service = chat.Chat(ServiceContext(Hub(1, 8), Connections(), {}, "", Shared(store)))

        async def ask(**data: Any) -> dict[str, Any]:
            return await service.call(connection, msgspec.Raw(json.dumps(data).encode()))

        kept = []
        for n in range(1, 17):
            await ask(op="send", room="tea", key=str(n), text="x")
            kept.append([one["seq"] for one in (await ask(op="open", room="tea"))["messages"]])
        await store.close()
        return kept

    kept = asyncio.run(body())
    assert kept[6] == list(range(1, 8)), "not trimmed yet"
    assert kept[7] == list(range(3, 9)) and kept[10] == list(range(3, 12)) and kept[15] == list(range(11, 17))


def test_the_writer_outlives_a_write_that_fails(tmp_path: Path) -> None:
    async def body() -> int:
        store = SqliteStore(StoreFile(tmp_path / "s.db"))
        with pytest.raises(OverflowError):
            await store.mark("/chat/tea", "ann", 2**63)
        with pytest.raises(AttributeError):
            await store._ask(lambda connection: cast(Any, connection).dance(), 0)
        kept = await store.append("/chat/tea", "k", "ann", b"x")
        await store.close()
        return kept.seq

    assert asyncio.run(body()) == 1
