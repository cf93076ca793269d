"""ASGI layers around every request: the connection, the envelope of the answer, and the body.

From the outside in: `Lingering` lets a client read an answer that came before its body was sent, `Envelope` names the
request and turns every exception into a problem, `BodyGuard` bounds what is received.
"""

import asyncio
import json
import re
import time
import uuid
from collections.abc import Awaitable, Callable

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from imaging.errors import TooLarge
from service.problems import MEDIA_TYPE, Problem, Refusal, problem_of
from service.queue import ClientGone
from service.telemetry import Telemetry

LINGER_S = 2.0
RATE_GRACE_S = 15.0
REQUEST_ID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}|[0-9a-fA-F]{32}")
"""A UUID or a trace id. Anything freer could carry a patient's number into the log."""
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"})
PROBES = ("/health", "/v2/health", "/metrics")
"""Counted but not logged: they come every few seconds."""
CLIENT_CLOSED = 499
"""Status in the log and the metrics where nobody was left to answer."""


class Lingering:
    """Answers before the end of the body close the connection, but only after the client had time to read them."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        unread = _has_body(scope)

        async def watched_receive() -> Message:
            nonlocal unread
            message = await receive()
            if message["type"] == "http.disconnect" or not message.get("more_body", False):
                unread = False
            return message

        async def lingering_send(message: Message) -> None:
            if message["type"] == "http.response.start" and unread:
                message = {**message, "headers": [*message["headers"], (b"connection", b"close")]}
            if message["type"] == "http.response.body" and not message.get("more_body", False) and unread:
                await send({**message, "more_body": True})
                await _discard(watched_receive, lambda: unread)
                message = {"type": "http.response.body", "body": b"", "more_body": False}
            await send(message)

        await self._app(scope, watched_receive, lingering_send)


class Envelope:
    """Request id, version, counting, logging, and a problem for every exception."""

    def __init__(self, app: ASGIApp, *, telemetry: Telemetry, version: str) -> None:
        self._app = app
        self._telemetry = telemetry
        self._version = version.encode("latin-1")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = _request_id(scope)
        record: dict[str, object] = {}
        scope.setdefault("state", {}).update(request_id=request_id, record=record)
        status = 0

        async def named_send(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message = {**message, "headers": [*message["headers"], *self._headers(request_id)]}
            await send(message)

        try:
            await self._app(scope, receive, named_send)
        except (ClientGone, ClientDisconnect):
            status = CLIENT_CLOSED
        except Exception as error:  # noqa: BLE001  the request boundary: whatever happened becomes a problem
            problem = problem_of(error)
            record["code"] = problem.code
            self._telemetry.refused(problem.code)
            if problem.code == "internal-error":
                self._telemetry.fault(error, request_id=request_id)
            if status == 0:
                await send_problem(named_send, problem, request_id)
        finally:
            route = getattr(scope.get("route"), "path", "unmatched")
            method = scope["method"] if scope["method"] in METHODS else "other"
            self._telemetry.answered(route=route, method=method, status=status)
            if not route.startswith(PROBES):
                self._telemetry.log(
                    "request", request_id=request_id, route=route, method=method, status=status, **record
                )

    def _headers(self, request_id: str) -> list[tuple[bytes, bytes]]:
        return [
            (b"x-request-id", request_id.encode()),
            (b"x-recontour-version", self._version),
            (b"cache-control", b"no-store"),
            (b"x-content-type-options", b"nosniff"),
        ]


class BodyGuard:
    """Refuses a body that is declared too large, compressed, or sent too slowly."""

    def __init__(self, app: ASGIApp, *, body_bytes: int, stall_s: float, rate_min: int) -> None:
        self._app = app
        self._body_bytes = body_bytes
        self._stall_s = stall_s
        self._rate_min = rate_min

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI. Raises Refusal and TooLarge, for the envelope."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        self._check_headers(scope)
        await self._app(scope, self._guarded(receive) if _has_body(scope) else receive, send)

    def _check_headers(self, scope: Scope) -> None:
        if _header(scope, b"content-encoding").lower() not in (b"", b"identity"):
            raise Refusal(
                "content-encoding-unsupported", "a compressed body is refused; send it as it is, or as application/zip."
            )
        declared = _header(scope, b"content-length")
        if declared and not declared.isdigit():
            raise Refusal("bad-request", "Content-Length is no number.")
        if declared and int(declared) > self._body_bytes:
            raise TooLarge(f"the body is declared to exceed {self._body_bytes} bytes", limit=self._body_bytes)

    def _guarded(self, receive: Receive) -> Receive:
        begun = time.monotonic()
        received = 0
        complete = False

        async def guarded_receive() -> Message:
            nonlocal received, complete
            if complete:
                return await receive()
            try:
                # Unlike wait_for, this makes no task of its own for each of the hundreds of chunks.
                async with asyncio.timeout(self._stall_s):
                    message = await receive()
            except TimeoutError:
                raise Refusal("body-stalled", f"nothing came for {self._stall_s:g} s after {received} bytes.") from None
            received += len(message.get("body", b""))
            complete = message["type"] == "http.disconnect" or not message.get("more_body", False)
            elapsed = time.monotonic() - begun
            if not complete and elapsed > RATE_GRACE_S and received < self._rate_min * elapsed:
                raise Refusal(
                    "body-stalled", f"{received} bytes in {elapsed:.0f} s are fewer than {self._rate_min} a second."
                )
            return message

        return guarded_receive


async def send_problem(send: Send, problem: Problem, request_id: str) -> None:
    """Send problem+json."""
    body = json.dumps(problem.body(request_id)).encode()
    headers = [
        (b"content-type", MEDIA_TYPE.encode()),
        (b"content-length", str(len(body)).encode()),
        *((name.lower().encode(), value.encode()) for name, value in problem.headers.items()),
    ]
    await send({"type": "http.response.start", "status": problem.status, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": False})


async def _discard(receive: Callable[[], Awaitable[Message]], unread: Callable[[], bool]) -> None:
    try:
        async with asyncio.timeout(LINGER_S):
            while unread():
                await receive()
    except TimeoutError:
        return


def _has_body(scope: Scope) -> bool:
    return _header(scope, b"content-length") not in (b"", b"0") or bool(_header(scope, b"transfer-encoding"))


def _header(scope: Scope, name: bytes) -> bytes:
    return next((value for key, value in scope["headers"] if key == name), b"")


def _request_id(scope: Scope) -> str:
    sent = _header(scope, b"x-request-id").decode("latin-1")
    return sent if REQUEST_ID.fullmatch(sent) else str(uuid.uuid4())
