"""Fetch the bytes behind an http(s) URL without trusting the URL, the name server or the server.

A catalogue's URLs come from other people. A URL may name a machine inside the network that trimodal runs
in, directly, by a redirect, or by a name that resolves to a harmless address when it is checked and to
another one when it is used. So the check sits where the connection is made: a name is resolved once, every
address it has must be public, and the connection goes to the address that was checked, while TLS still
verifies the name.
"""

from __future__ import annotations

import ipaddress
import math
import queue
import socket
import ssl
import threading
import time
import zlib
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Any

import httpcore
import httpx

from ..errors import ItemError, ParameterError, check_int

MAX_BYTES = 32 * 2**20
"""Largest picture that is read, in bytes, unless told otherwise."""

REDIRECTS = frozenset({301, 302, 303, 307, 308})
RETRY_PAUSE = 0.25  # seconds
RETRIED = (httpcore.ConnectError, httpcore.ConnectTimeout, httpcore.ReadError, httpcore.WriteError,
           httpcore.RemoteProtocolError)  # fmt: skip
NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


def is_public_address(address: str) -> bool:
    """Whether an IP address belongs to the public internet, looking through IPv6 forms that carry an IPv4."""
    ip = ipaddress.ip_address(address)
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour
        if inner is None and ip in NAT64:
            inner = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
        if inner is not None:
            return is_public_address(str(inner))
        if ip.is_site_local or ip.teredo is not None:
            return False
    return ip.is_global and not (ip.is_multicast or ip.is_reserved)


class _Deadline(threading.local):
    """The moment at which the request of the current thread must be over; each thread has its own."""

    at = math.inf

    def left(self, limit: float | None) -> float | None:
        """Seconds that one step may take: `limit`, or less where the deadline is nearer."""
        left = self.at - time.monotonic()
        if left <= 0:
            raise httpcore.ReadTimeout("deadline")
        return left if limit is None else min(left, limit)


class _Stream(httpcore.NetworkStream):
    """A connection whose every read and write also keeps the deadline: a slow drip of bytes ends too."""

    def __init__(self, stream: httpcore.NetworkStream, deadline: _Deadline) -> None:
        self._stream = stream
        self._deadline = deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, self._deadline.left(timeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, self._deadline.left(timeout))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        secured = self._stream.start_tls(ssl_context, server_hostname, self._deadline.left(timeout))
        return _Stream(secured, self._deadline)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


class _CheckedBackend(httpcore.NetworkBackend):
    """Connects to an address only after it was checked, and to that address, not to the name again."""

    def __init__(self, deadline: _Deadline, allow_private: bool) -> None:
        self._deadline = deadline
        self._allow_private = allow_private
        self._backend = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        addresses = _resolve(host, port, self._deadline.left(timeout))
        if not self._allow_private:
            for address in addresses:
                if not is_public_address(address):
                    raise ItemError(f"refused: {host} is at {address}, which is not a public address")
        failure: Exception = httpcore.ConnectError("no address")
        for address in addresses:
            left = self._deadline.left(timeout)
            try:
                stream = self._backend.connect_tcp(address, port, left, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
            else:
                return _Stream(stream, self._deadline)
        raise failure


def _resolve(host: str, port: int, timeout: float | None) -> list[str]:
    """The addresses of a host, in the system's order, within `timeout` seconds."""
    answers: queue.SimpleQueue[list[str] | Exception] = queue.SimpleQueue()

    def look_up() -> None:
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            answers.put(list(dict.fromkeys(str(entry[4][0]) for entry in found)))
        except (OSError, UnicodeError) as error:
            answers.put(error)

    # getaddrinfo knows no time limit, so it runs in a thread that can be left behind.
    threading.Thread(target=look_up, daemon=True, name="trimodal-resolve").start()
    try:
        answer = answers.get(timeout=timeout)
    except queue.Empty:
        raise httpcore.ConnectTimeout("name lookup") from None
    if isinstance(answer, Exception):
        raise httpcore.ConnectError(f"the name {host} cannot be resolved") from answer
    return answer


class Fetcher:
    """Reads http(s) URLs into bytes; thread-safe, with one pool of connections.

    Parameters
    ----------
    max_bytes
        Largest body, in bytes, as sent and as decompressed.
    connect_timeout, read_timeout
        Seconds to connect, and between two pieces of the answer.
    total_timeout
        Seconds for one `get` in all: name lookup, redirects, the retry and the body together.
    max_redirects
        How many redirects are followed; each target is checked as the first URL is.
    allow_private
        Let URLs reach private, loopback and other non-public addresses. Only for catalogues that you wrote.
    proxy
        `http://host:port` of a forward proxy. None (the default) connects directly, whatever the
        environment says. With a proxy the names are resolved there, so only literal addresses can be
        checked here: the proxy must refuse private targets itself.
    ssl_context
        Replaces the default trust store (certifi's), for a shop behind a private authority.
    max_connections
        How many connections may be open at once.
    """

    def __init__(
        self,
        *,
        max_bytes: int = MAX_BYTES,
        connect_timeout: float = 5.0,
        read_timeout: float = 10.0,
        total_timeout: float = 30.0,
        max_redirects: int = 5,
        allow_private: bool = False,
        proxy: str | None = None,
        ssl_context: ssl.SSLContext | None = None,
        max_connections: int = 16,
    ) -> None:
        from .. import __version__  # here, because the package may be importing this module

        self.max_bytes = check_int("max_bytes", max_bytes, low=1)
        self.connect_timeout = _check_seconds("connect_timeout", connect_timeout)
        self.read_timeout = _check_seconds("read_timeout", read_timeout)
        self.total_timeout = _check_seconds("total_timeout", total_timeout)
        self.max_redirects = check_int("max_redirects", max_redirects, low=0)
        self.allow_private = allow_private
        self._deadline = _Deadline()
        self._headers: dict[str | bytes, str | bytes] = {
            "User-Agent": f"trimodal/{__version__}",
            "Accept": "image/*",
            "Accept-Encoding": "identity",
        }
        options: dict[str, Any] = {
            "ssl_context": ssl_context or httpx.create_ssl_context(trust_env=False),
            "max_connections": check_int("max_connections", max_connections, low=1),
            "keepalive_expiry": 10.0,
            "network_backend": _CheckedBackend(self._deadline, allow_private or proxy is not None),
        }
        self._pool = httpcore.HTTPProxy(proxy, **options) if proxy else httpcore.ConnectionPool(**options)

    def get(self, url: str) -> bytes:
        """The body behind `url`, decompressed, at most `max_bytes` long; the content type is not looked at.

        Raises
        ------
        ItemError
            The URL is refused or cannot be read; the message is a short reason.
        """
        self._deadline.at = time.monotonic() + self.total_timeout
        try:
            return self._follow(url)
        except httpcore.TimeoutException as error:
            if time.monotonic() >= self._deadline.at:
                raise ItemError(f"not fetched within {self.total_timeout:g} s") from error
            raise ItemError("timed out waiting for the server") from error
        except (httpcore.NetworkError, httpcore.ProtocolError, httpcore.ProxyError) as error:
            raise ItemError(f"connection failed: {_short(error)}") from error

    def close(self) -> None:
        """Close the connections."""
        self._pool.close()

    def __enter__(self) -> Fetcher:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None = None,
        error: BaseException | None = None,
        trace: TracebackType | None = None,
    ) -> None:
        self.close()

    def _follow(self, url: str) -> bytes:
        target = self._checked(_parse(url))
        for _ in range(self.max_redirects + 1):
            found = self._request(target)
            if isinstance(found, bytes):
                return found
            target = self._checked(_parse(found, base=target))
        raise ItemError(f"more than {self.max_redirects} redirects")

    def _checked(self, url: httpx.URL) -> httpx.URL:
        if url.scheme not in ("http", "https"):
            raise ItemError(f"refused: scheme {url.scheme!r}, must be http or https")
        if url.userinfo:
            raise ItemError("refused: the URL carries a user name or password")
        if not url.host:
            raise ItemError("the URL names no host")
        if not self.allow_private:
            try:
                public = is_public_address(url.host)
            except ValueError:  # a name: its addresses are checked when it is connected to
                public = True
            if not public:
                raise ItemError(f"refused: {url.host} is not a public address")
        return url

    def _request(self, url: httpx.URL) -> bytes | str:
        """One hop: the body, or where the server points to. Tries a second time after a passing failure."""
        try:
            return self._request_once(url, retry=True)
        except RETRIED:
            time.sleep(self._deadline.left(RETRY_PAUSE) or 0)
            return self._request_once(url, retry=False)

    def _request_once(self, url: httpx.URL, *, retry: bool) -> bytes | str:
        target = httpcore.URL(
            scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path
        )  # one parser only: two that disagree about the host would be a way around the check
        timeout = {
            "connect": self.connect_timeout,
            "read": self.read_timeout,
            "write": self.read_timeout,
            "pool": self._deadline.left(None),
        }
        with self._pool.stream("GET", target, headers=self._headers, extensions={"timeout": timeout}) as answer:
            headers = {name.lower(): value.decode("latin-1") for name, value in answer.headers}
            if answer.status in REDIRECTS and headers.get(b"location"):
                return headers[b"location"]
            if answer.status >= 500 and retry:
                raise httpcore.RemoteProtocolError(f"HTTP {answer.status}")
            if answer.status != 200:
                raise ItemError(f"HTTP {answer.status}")
            return self._body(answer, headers)

    def _body(self, answer: httpcore.Response, headers: dict[bytes, str]) -> bytes:
        length = headers.get(b"content-length", "")
        if length.isdecimal() and int(length) > self.max_bytes:
            raise ItemError(f"too many bytes: {length}, must be <= {self.max_bytes}")
        unpack, finish = _decoder(headers.get(b"content-encoding", ""))
        body = bytearray()
        received = 0
        for piece in answer.iter_stream():
            received += len(piece)
            body += unpack(piece, self.max_bytes + 1 - len(body))
            if max(received, len(body)) > self.max_bytes:
                raise ItemError(f"too many bytes: more than {self.max_bytes}")
        finish()
        return bytes(body)


def _decoder(encoding: str) -> tuple[Callable[[bytes, int], bytes], Callable[[], None]]:
    """Two functions: unpack a piece into at most so many bytes; check at the end that all was there."""
    encoding = encoding.strip().lower()
    if encoding in ("", "identity"):
        return (lambda piece, room: piece), (lambda: None)
    if encoding not in ("gzip", "x-gzip", "deflate"):
        raise ItemError(f"content encoding {encoding[:40]!r} is not supported")
    inflater = zlib.decompressobj(wbits=47)  # finds out itself whether the header is gzip's or zlib's

    def unpack(piece: bytes, room: int) -> bytes:
        try:
            return inflater.decompress(piece, room)
        except zlib.error as error:
            raise ItemError("the compressed body is damaged") from error

    def finish() -> None:
        if not inflater.eof:
            raise ItemError("the compressed body is cut short")

    return unpack, finish


def _parse(text: str, base: httpx.URL | None = None) -> httpx.URL:
    try:
        url = httpx.URL(text) if base is None else base.join(text)
    except (httpx.InvalidURL, ValueError) as error:  # ValueError: a host name that IDNA does not know
        raise ItemError(f"not a URL: {_short(error)}") from error
    if url.port is not None and not 0 < url.port < 65536:
        raise ItemError(f"not a URL: port {url.port}")
    return url


def _short(error: Exception) -> str:
    return (str(error) or type(error).__name__).split("\n")[0][:120]


def _check_seconds(name: str, value: float) -> float:
    if not 0 < value < math.inf:
        raise ParameterError(f"{name} == {value!r}, must be a positive number of seconds.")
    return float(value)
