from __future__ import annotations

import gzip
import socket
import ssl
import threading
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address

import httpcore
import pytest

import trimodal
from trimodal.encoders import fetch
from trimodal.encoders.fetch import Fetcher, is_public_address
from trimodal.errors import ItemError, ParameterError

# A key and a certificate for shop.test, made for these tests with openssl, good for a hundred years.
KEY = """\
-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg1BBA46A5lTmcvaXy
8EOaqkt81ee/d54THwLI4tpJ0RuhRANCAAQDJM/VQZ4g5b4NZUN0i5tOmxO71pK/
66VkjCuDu6Cn3EU5cR/FdOWwCYLZMAJ70vaJ+imINvimZCYikqBEPXFj
-----END PRIVATE KEY-----
"""
CERTIFICATE = """\
-----BEGIN CERTIFICATE-----
MIIBljCCATugAwIBAgIUDCRN1NXdgKOYeCSBagYkzz4JLhwwCgYIKoZIzj0EAwIw
FDESMBAGA1UEAwwJc2hvcC50ZXN0MCAXDTI2MTEyMDA3MjgzOFoYDzIxMjYxMDI3
MDcyODM4WjAUMRIwEAYDVQQDDAlzaG9wLnRlc3QwWTATBgcqhkjOPQIBBggqhkjO
PQMBBwNCAAQDJM/VQZ4g5b4NZUN0i5tOmxO71pK/66VkjCuDu6Cn3EU5cR/FdOWw
CYLZMAJ70vaJ+imINvimZCYikqBEPXFjo2kwZzAdBgNVHQ4EFgQUqVWgN9ohID8j
FArIgcpCjeLk+OYwHwYDVR0jBBgwFoAUqVWgN9ohID8jFArIgcpCjeLk+OYwDwYD
VR0TAQH/BAUwAwEB/zAUBgNVHREEDTALgglzaG9wLnRlc3QwCgYIKoZIzj0EAwID
SQAwRgIhAOwPxmb0s+tLC2YPQD2tFMCZ8A3Wx3vVcuPJEWm+pSYKAiEAqYu+etHQ
x8ATV0M0RLUJ74UP5BWemheJorV1Rw6H39Q=
-----END CERTIFICATE-----
"""


class Handler(BaseHTTPRequestHandler):
    """Answers by path; `server.seen` counts requests per path and keeps the last headers."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def reply(self, body=b"", status=200, **headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        if "Transfer_Encoding" not in headers and "Content_Length" not in headers:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        path = self.path.split("?")[0]
        self.server.seen[path] = self.server.seen.get(path, 0) + 1
        self.server.headers = dict(self.headers)
        self.server.peers.add(self.client_address)
        try:
            getattr(self, "get_" + path.strip("/").replace("-", "_").split("/")[0])()
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def get_ok(self):
        self.reply(b"picture", Content_Type="text/html")

    def get_redirect(self):
        self.reply(status=302, Location=self.path.split("?to=", 1)[1])

    def get_loop(self):
        self.reply(status=301, Location="/loop")

    def get_missing(self):
        self.reply(b"gone", 404)

    def get_broken(self):
        self.reply(b"oops", 503)

    def get_once(self):
        if self.server.seen["/once"] == 1:
            self.reply(b"oops", 500)
        else:
            self.reply(b"second")

    def get_hangs_up(self):
        if self.server.seen["/hangs-up"] > 1:
            self.reply(b"second")
        self.close_connection = True

    def get_cut(self):
        self.reply(b"only this", Content_Length="1000")
        self.close_connection = True

    def get_announced(self):
        self.reply(b"", Content_Length=str(10**12))
        self.close_connection = True

    def get_endless(self):
        self.reply(Transfer_Encoding="chunked")
        while not self.server.over.is_set():
            self.wfile.write(b"10000\r\n" + b"x" * 0x10000 + b"\r\n")

    def get_drip(self):
        self.reply(Content_Length="100000")
        while not self.server.over.wait(0.02):
            self.wfile.write(b"x")
            self.wfile.flush()

    def get_drip_headers(self):
        self.wfile.write(b"HTTP/1.1 200 OK\r\n")
        while not self.server.over.wait(0.02):
            self.wfile.write(b"X")
            self.wfile.flush()

    def get_silent(self):
        self.server.over.wait(5)
        self.close_connection = True

    def get_gzip(self):
        self.reply(gzip.compress(b"picture"), Content_Encoding="gzip")

    def get_deflate(self):
        self.reply(zlib.compress(b"picture"), Content_Encoding="deflate")

    def get_bomb(self):
        self.reply(gzip.compress(bytes(50_000_000)), Content_Encoding="gzip")

    def get_half_gzip(self):
        self.reply(gzip.compress(b"picture" * 99)[:-9], Content_Encoding="gzip")

    def get_not_gzip(self):
        self.reply(b"picture", Content_Encoding="gzip")

    def get_brotli(self):
        self.reply(b"picture", Content_Encoding="br")


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request, client_address):
        pass  # a client that goes away in the middle is what these tests do


@pytest.fixture
def serve():
    """Start a server on 127.0.0.1, with TLS where a context is given; -> the server, its `port`."""
    servers = []

    def start(context: ssl.SSLContext | None = None) -> Server:
        server = Server(("127.0.0.1", 0), Handler)
        server.seen, server.headers, server.peers = {}, {}, set()
        server.over = threading.Event()
        server.port = server.server_address[1]
        if context is not None:
            server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        servers.append(server)
        return server

    yield start
    for server in servers:
        server.over.set()
        server.shutdown()
        server.server_close()


@pytest.fixture
def server(serve):
    return serve()


@pytest.fixture
def local():
    with Fetcher(allow_private=True, total_timeout=10) as fetcher:
        yield fetcher


def url(server, path):
    return f"http://127.0.0.1:{server.port}{path}"


@pytest.fixture
def names(monkeypatch):
    """A name server: {name: list of answers, used up one by one, the last one kept}."""
    table: dict[str, list[list[str]]] = {}
    asked: list[str] = []
    real = socket.getaddrinfo

    def getaddrinfo(host, port, *args, **kwargs):
        if host not in table:
            return real(host, port, *args, **kwargs)
        asked.append(host)
        answers = table[host]
        addresses = answers.pop(0) if len(answers) > 1 else answers[0]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in addresses]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return table, asked


def test_reads_the_body_whatever_its_type(server, local):
    assert local.get(url(server, "/ok")) == b"picture"
    assert server.headers["User-Agent"] == f"trimodal/{trimodal.__version__}"
    assert server.headers["Host"] == f"127.0.0.1:{server.port}"
    assert "Cookie" not in server.headers
    assert "Authorization" not in server.headers


def test_one_connection_serves_many_requests(server, local):
    for _ in range(5):
        local.get(url(server, "/ok"))
    assert len(server.peers) == 1


def test_from_many_threads(server, local):
    with ThreadPoolExecutor(16) as pool:
        bodies = list(pool.map(local.get, [url(server, f"/ok/{n}") for n in range(100)]))
    assert bodies == [b"picture"] * 100
    assert server.seen == {f"/ok/{n}": 1 for n in range(100)}


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "127.8.8.8",
        "10.0.0.1",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "0.0.0.0",
        "100.64.0.1",
        "224.0.0.1",
        "240.0.0.1",
        "255.255.255.255",
        "192.0.2.1",
        "198.18.0.1",
        "::",
        "::1",
        "fe80::1",
        "fe80::1%eth0",
        "fc00::1",
        "fd12::1",
        "fec0::1",
        "ff02::1",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "::127.0.0.1",
        "2001:db8::1",
        "64:ff9b::7f00:1",
        "64:ff9b::a00:1",
        "64:ff9b:1::1",
        "2002:7f00:1::1",
        "2002:a00:1::",
        "2001:0:1::1",
    ],
)  # fmt: skip
def test_addresses_that_are_not_public(address):
    assert not is_public_address(address)


@pytest.mark.parametrize(
    "address", ["8.8.8.8", "93.184.216.34", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"]
)
def test_public_addresses(address):
    assert is_public_address(address)


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "localhost",
        "127.1",
        "2130706433",
        "0x7f.1",
        "0177.0.0.1",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "0",
        "0.0.0.0",
        "127.0.0.1.",
    ],
)  # fmt: skip
def test_this_machine_is_refused_under_each_of_its_names(server, host):
    with Fetcher(total_timeout=10) as fetcher, pytest.raises(ItemError):
        fetcher.get(f"http://{host}:{server.port}/ok")
    assert server.seen == {}


def test_a_name_with_any_private_address_is_refused(server, names):
    table, _ = names
    table["mixed.test"] = [["8.8.8.8", "127.0.0.1"]]
    with Fetcher() as fetcher, pytest.raises(ItemError, match=r"refused: mixed\.test is at 127\.0\.0\.1"):
        fetcher.get(f"http://mixed.test:{server.port}/ok")
    assert server.seen == {}


def test_the_address_that_was_checked_is_the_one_connected_to(names, monkeypatch):
    """A name server that answers with a public address first and with this machine afterwards."""
    table, asked = names
    table["rebind.test"] = [["93.184.216.34"], ["127.0.0.1"]]
    connected = []

    def connect(self, host, port, *args, **kwargs):
        connected.append(host)
        raise httpcore.ConnectTimeout("stop here")

    monkeypatch.setattr(httpcore.SyncBackend, "connect_tcp", connect)
    with Fetcher() as fetcher, pytest.raises(ItemError, match=r"refused: rebind\.test is at 127\.0\.0\.1"):
        fetcher.get("http://rebind.test/ok")  # the retry asks again, and is checked again
    assert connected == ["93.184.216.34"]
    assert asked == ["rebind.test"] * 2


def test_a_name_is_sent_as_the_host(server, local, names):
    table, asked = names
    table["shop.test"] = [["127.0.0.1"]]
    assert local.get(f"http://shop.test:{server.port}/ok") == b"picture"
    assert server.headers["Host"] == f"shop.test:{server.port}"
    assert asked == ["shop.test"]


def test_the_next_address_is_tried(server, local, names):
    table, _ = names
    table["shop.test"] = [["127.0.0.2", "127.0.0.1"]]  # nothing listens on the first
    assert local.get(f"http://shop.test:{server.port}/ok") == b"picture"


def test_tls_verifies_the_name(serve, names, tmp_path):
    (tmp_path / "cert.pem").write_text(CERTIFICATE)
    (tmp_path / "key.pem").write_text(KEY)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")
    server = serve(context)
    table, _ = names
    table["shop.test"] = table["other.test"] = [["127.0.0.1"]]
    trust = ssl.create_default_context(cadata=CERTIFICATE)
    with Fetcher(allow_private=True, ssl_context=trust, total_timeout=10) as fetcher:
        assert fetcher.get(f"https://shop.test:{server.port}/ok") == b"picture"
        with pytest.raises(ItemError, match=r"connection failed: .*certificate"):
            fetcher.get(f"https://other.test:{server.port}/ok")
    refused = pytest.raises(ItemError, match=r"connection failed: .*certificate")
    with Fetcher(allow_private=True, total_timeout=10) as fetcher, refused:
        fetcher.get(f"https://shop.test:{server.port}/ok")


def test_redirects_are_followed(server, local):
    assert local.get(url(server, "/redirect?to=/ok")) == b"picture"
    assert local.get(url(server, f"/redirect?to={url(server, '/redirect')}?to=/ok")) == b"picture"


def test_redirects_are_limited(server):
    refused = pytest.raises(ItemError, match="more than 3 redirects")
    with Fetcher(allow_private=True, max_redirects=3) as fetcher, refused:
        fetcher.get(url(server, "/loop"))
    assert server.seen == {"/loop": 4}


def test_no_redirect_at_all(server):
    with Fetcher(allow_private=True, max_redirects=0) as fetcher:
        assert fetcher.get(url(server, "/ok")) == b"picture"
        with pytest.raises(ItemError, match="more than 0 redirects"):
            fetcher.get(url(server, "/redirect?to=/ok"))


def test_a_redirect_to_a_private_address_is_refused(serve, names, monkeypatch):
    """The first server counts as public here; what it points to does not."""
    public, private = serve(), serve()
    monkeypatch.setattr(fetch, "is_public_address", lambda text: ip_address(text) == ip_address("127.0.0.1"))
    with Fetcher(total_timeout=10) as fetcher:
        assert fetcher.get(url(public, "/redirect?to=/ok")) == b"picture"
        for target in (
            f"http://127.0.0.2:{private.port}/ok",
            f"//127.0.0.2:{private.port}/ok",
            "http://[::1]/ok",
        ):
            with pytest.raises(ItemError, match="refused"):
                fetcher.get(url(public, f"/redirect?to={target}"))
        names[0]["inside.test"] = [["127.0.0.2"]]
        with pytest.raises(ItemError, match=r"refused: inside\.test is at 127\.0\.0\.2"):
            fetcher.get(url(public, f"/redirect?to=http://inside.test:{private.port}/ok"))
    assert private.seen == {}


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        ("file:///etc/passwd", "scheme 'file'"),
        ("ftp://example.org/a", "scheme 'ftp'"),
        ("http://user:secret@example.org/a", "user name or password"),
        ("http://example.org:99999/a", "not a URL"),
    ],
)
def test_urls_that_are_refused(server, local, target, reason):
    with pytest.raises(ItemError, match=reason) as caught:
        local.get(target)
    assert "secret" not in str(caught.value)
    with pytest.raises(ItemError, match=reason):
        local.get(url(server, f"/redirect?to={target}"))


@pytest.mark.parametrize(
    "target",
    [
        "",
        "no url",
        "http://",
        "http://a:99999/",
        "http://a b/",
        "http://\u2603\u0301\u0000/",
        "http://-/",
        "http:///a",
        "http://[bad/a",
    ],
)
def test_nonsense_is_an_item_error(local, target):
    with pytest.raises(ItemError):
        local.get(target)


def test_error_statuses(server, local):
    with pytest.raises(ItemError, match=r"^HTTP 404$"):
        local.get(url(server, "/missing"))
    assert server.seen["/missing"] == 1


def test_one_retry(server, serve, local):
    assert local.get(url(server, "/once")) == b"second"
    assert local.get(url(server, "/hangs-up")) == b"second"
    assert server.seen == {"/once": 2, "/hangs-up": 2}
    fresh = serve()  # whose connections were not hung up
    with pytest.raises(ItemError, match=r"^HTTP 503$"):
        local.get(url(fresh, "/broken"))
    assert fresh.seen == {"/broken": 2}


def test_nothing_listens(local):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        with pytest.raises(ItemError, match=r"connection failed: .*refused"):
            local.get(f"http://127.0.0.1:{unused.getsockname()[1]}/")


def test_a_name_that_does_not_exist(local):
    with pytest.raises(ItemError, match=r"name nowhere\.invalid cannot be resolved"):
        local.get("http://nowhere.invalid/a.jpg")


def test_a_body_that_is_cut_short(server, local):
    with pytest.raises(ItemError, match="connection failed"):
        local.get(url(server, "/cut"))


def test_body_size_is_limited(server):
    with Fetcher(allow_private=True, max_bytes=7) as fetcher:
        assert fetcher.get(url(server, "/ok")) == b"picture"
    with Fetcher(allow_private=True, max_bytes=6) as fetcher:
        for path in ("/ok", "/endless", "/announced"):
            with pytest.raises(ItemError, match="too many bytes"):
                fetcher.get(url(server, path))


def test_compressed_bodies(server, local):
    assert local.get(url(server, "/gzip")) == b"picture"
    assert local.get(url(server, "/deflate")) == b"picture"
    for path, reason in (
        ("/half-gzip", "cut short"),
        ("/not-gzip", "damaged"),
        ("/brotli", "'br' is not supp"),
    ):
        with pytest.raises(ItemError, match=reason):
            local.get(url(server, path))


def test_a_gzip_bomb_is_stopped_at_the_limit(server, monkeypatch):
    unpacked = []
    real = fetch._decoder

    def counting(encoding):
        unpack, finish = real(encoding)

        def counted(piece, room):
            out = unpack(piece, room)
            unpacked.append(len(out))
            return out

        return counted, finish

    monkeypatch.setattr(fetch, "_decoder", counting)
    refused = pytest.raises(ItemError, match="too many bytes: more than 1000000")
    with Fetcher(allow_private=True, max_bytes=1_000_000) as fetcher, refused:
        fetcher.get(url(server, "/bomb"))
    assert sum(unpacked) == 1_000_001


@pytest.mark.parametrize("path", ["/drip", "/drip-headers"])
def test_a_slow_drip_ends_at_the_deadline(server, path):
    with Fetcher(allow_private=True, total_timeout=0.5, read_timeout=5) as fetcher:
        started = time.monotonic()
        with pytest.raises(ItemError, match=r"not fetched within 0\.5 s"):
            fetcher.get(url(server, path))
        assert 0.4 < time.monotonic() - started < 2
        assert fetcher.get(url(server, "/ok")) == b"picture"  # the deadline was that request's alone


def test_a_silent_server_meets_the_read_timeout(server):
    with Fetcher(allow_private=True, read_timeout=0.3, total_timeout=20) as fetcher:
        started = time.monotonic()
        with pytest.raises(ItemError, match="timed out"):
            fetcher.get(url(server, "/silent"))
        assert time.monotonic() - started < 3


def test_a_slow_name_server_meets_the_deadline(monkeypatch):
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **kwargs: time.sleep(2) or [])
    with Fetcher(total_timeout=0.3) as fetcher:
        started = time.monotonic()
        with pytest.raises(ItemError, match="not fetched within"):
            fetcher.get("http://example.org/a.jpg")
        assert time.monotonic() - started < 1.5


def test_proxies_of_the_environment_are_ignored(server, local, monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert local.get(url(server, "/ok")) == b"picture"


def test_a_proxy_that_was_asked_for(server):
    with Fetcher(proxy=f"http://127.0.0.1:{server.port}") as fetcher:
        with pytest.raises(ItemError, match=r"refused: 10\.0\.0\.1 is not a public address"):
            fetcher.get("http://10.0.0.1/ok")
        assert server.seen == {}
        with pytest.raises(ItemError):  # the little server here answers only paths, not whole URLs
            fetcher.get("http://example.org/ok")
    assert list(server.seen) == ["http://example.org/ok"]


@pytest.mark.parametrize(
    "options", [{"max_bytes": 0}, {"total_timeout": 0}, {"read_timeout": float("inf")}, {"max_redirects": -1}]
)
def test_parameters_are_checked(options):
    with pytest.raises(ParameterError, match=next(iter(options))):
        Fetcher(**options)
