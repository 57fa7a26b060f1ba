"""The question that the health check of a container asks."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from magister.cli.commands import health
from tests.ports import free_port
from tests.unit.cli.test_main import SETTINGS


@contextmanager
def service(status: int) -> Iterator[int]:
    """Answer /healthz with `status`, and everything else with 404, on a free port."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status if self.path == "/healthz" else 404)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path / "magister.toml"


def asked(file: Path, port: int, bind: str = "0.0.0.0") -> int:
    file.write_text(f'http_port = {port}\n{SETTINGS}\n[web]\nbind = "{bind}"\n')
    return health.run(file)


@pytest.mark.parametrize("bind", ["0.0.0.0", "127.0.0.1", "localhost"])
def test_a_service_that_answers_is_healthy_wherever_it_listens(file: Path, bind: str) -> None:
    with service(200) as port:
        assert asked(file, port, bind) == 0


def test_a_service_that_answers_with_an_error_is_not(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with service(503) as port:
        assert asked(file, port) == 1
    assert capsys.readouterr().err == f"magister: http://0.0.0.0:{port}/healthz answers 503\n"


def test_nobody_there_is_told_in_a_line(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    port = free_port()
    assert asked(file, port) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"magister: http://0.0.0.0:{port}/healthz does not answer: ")
