"""The control listener, on 127.0.0.1 only: health, statistics, and start and stop of the feed for the benchmark."""

import asyncio
from collections import Counter
from typing import Annotated, Any, Final

import msgspec
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from feed.instruments.clock import NS_PER_S, now_ns
from feed.schedule import Schedule, ScheduleError
from feed.sources import SourceError, check_payload_bytes, synthetic
from feed.strict import JsonError, decode_strictly
from servers.gate.errors import Refusal
from servers.hub.publisher import Publisher
from servers.platform.collector import collector_in_force
from servers.platform.context import Context
from servers.process.prometheus import exposition

CONTROL_HOST: Final = "127.0.0.1"
MAX_LEAD_NS: Final = 60 * NS_PER_S
"""Longest time from a request to the start of the feed that it asks for."""


class FeedStart(msgspec.Struct, forbid_unknown_fields=True):
    """Body of ``POST /feed/start``: synthetic events on a schedule.

    ``start_ns``: time on CLOCK_MONOTONIC at which the schedule begins; 0 is now.
    """

    schedule: Schedule
    payload_bytes: int = 256
    start_ns: Annotated[int, msgspec.Meta(ge=0)] = 0


_START_DECODER: Final = msgspec.json.Decoder(FeedStart)


def routes(context: Context, publisher: Publisher) -> list[BaseRoute]:
    """The routes of the control listener (docs/protocol.md, Control)."""

    async def healthz(request: Request) -> Response:
        return JSONResponse({"status": "stopping" if context.hub.closing else "ok"})

    async def stats(request: Request) -> Response:
        return JSONResponse(_summary(context, publisher))

    async def reset(request: Request) -> Response:
        context.stats.reset_window()
        return JSONResponse({})  # no summary: making one takes a millisecond, at the worst moment

    async def start(request: Request) -> Response:
        order = _feed_start(await request.body(), len(context.hub.feed_rooms))
        start_ns = order.start_ns or now_ns()
        publisher.start(synthetic(order.schedule, order.payload_bytes), start_ns)
        return JSONResponse({"start_ns": start_ns})

    async def stop(request: Request) -> Response:
        publisher.stop()
        return JSONResponse({"published": publisher.published})

    async def publications(request: Request) -> Response:
        return JSONResponse({"publications": list(publisher.publications)})

    async def metrics(request: Request) -> Response:
        counts = Counter[str]()
        for namespace in context.namespaces:
            counts.update(namespace.counts())
        body, content_type = exposition(context.options.transport, context.stats, context.watchdog, counts)
        return Response(body, media_type=content_type)

    return [
        Route("/metrics", metrics),
        Route("/healthz", healthz),
        Route("/stats", stats),
        Route("/stats/reset", reset, methods=["POST"]),
        Route("/feed/start", start, methods=["POST"]),
        Route("/feed/stop", stop, methods=["POST"]),
        Route("/feed/publications", publications),
    ]


def _feed_start(body: bytes, rooms: int) -> FeedStart:
    try:
        order = decode_strictly(body, _START_DECODER)
        order.schedule.check()
        check_payload_bytes(order.payload_bytes)
    except (JsonError, ScheduleError, SourceError) as error:
        raise Refusal("bad_request", str(error)) from error
    if order.schedule.rooms > rooms:
        raise Refusal("bad_request", f"rooms {order.schedule.rooms}: this server has {rooms}")
    if order.start_ns > now_ns() + MAX_LEAD_NS:
        raise Refusal("bad_request", "start_ns: at most 60 s ahead on CLOCK_MONOTONIC")
    return order


def _summary(context: Context, publisher: Publisher) -> dict[str, Any]:
    return {
        **context.watchdog.summary(),
        **context.stats.summary(),
        "tasks": len(asyncio.all_tasks()),
        "events_published": context.hub.published,
        "feed_running": publisher.running,
        "feed_published": publisher.published,
        "collector": collector_in_force(),
    }
