"""What a request's query and headers say."""

import math
import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import parse_qsl

from starlette.types import Scope

from servers.gate.errors import Refusal

_NUMBER: Final = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,3})?", re.ASCII)
"""What Python takes for a number beyond that (``1_0``, other scripts' digits, white space), nobody else does."""


def header(scope: Scope, name: bytes) -> str:
    """A header of the request, by its name in lower case; empty if it is not there.

    Starlette's ``Request.headers`` would keep a copy of them all for as long as the response lasts.
    """
    for found, value in scope["headers"]:
        if found == name:
            text: str = value.decode("latin-1")
            return text
    return ""


def parameters(query: bytes) -> dict[str, str]:
    """The parameters of a query; the last of a name counts, as in Starlette. Every transport reads them by this.

    A query without an escape is cut by hand, at a quarter of what the standard library takes for it.
    """
    text = query.decode("latin-1")
    if "%" in text or "+" in text:
        return dict(parse_qsl(text, keep_blank_values=True))
    return {name: value for pair in text.split("&") if pair for name, _, value in (pair.partition("="),)}


def number(params: Mapping[str, str], name: str, default: float, low: float, high: float) -> float:
    """A number from the query; empty is absent. Raises ``Refusal`` naming the parameter and its range."""
    text = params.get(name)
    if not text:
        return default
    value = float(text) if _NUMBER.fullmatch(text) else math.nan
    if not low <= value <= high:
        raise Refusal("bad_number", f"{name}={text[:40]!r}: expected a number from {low:g} to {high:g}")
    return value
