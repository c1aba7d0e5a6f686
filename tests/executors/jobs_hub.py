"""A stand-in of HF Jobs on loopback, for tests: a job's command runs for real, as a process of this machine.

It speaks the protocol as huggingface_hub does: who am I, start, list by label, inspect, cancel, logs as events. Any
other request goes to the stand-in of the Hub. It knows nothing of images, hardware or money; `refuse` says what to
answer instead. Jobs see the shared storage and the code under test, and nothing of the launcher's environment.
"""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import uuid
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs, unquote, urlsplit

from tests.hub.stand_in import Answer, Refusal, Request, StandIn

_ROOT: Final = Path(__file__).resolve().parent.parent.parent
#: The shared storage, known to every Python that starts with this file's folder in its path.
_SITE: Final = """\
import os

import fsspec
from fsspec.implementations.dirfs import DirFileSystem


class Shared(DirFileSystem):
    protocol = "shared"

    def __init__(self, **options):
        super().__init__(path=os.environ["SHARED_STORAGE"], target_protocol="file")


fsspec.register_implementation("shared", Shared)
"""


@dataclass
class Job:
    """A job: what was asked for, and what became of it."""

    id: str
    namespace: str
    spec: dict[str, Any]
    stage: str = "SCHEDULING"
    log: str = ""
    process: subprocess.Popen[str] | None = field(default=None, repr=False)

    @property
    def info(self) -> dict[str, Any]:
        """As the Hub tells of it: of secrets the names only."""
        owner = {"id": "0", "name": self.namespace, "type": "user"}
        told = {key: self.spec.get(key) for key in ("dockerImage", "command", "environment", "flavor", "labels")}
        secrets = dict.fromkeys(self.spec.get("secrets", {}))
        return {"id": self.id, **told, "secrets": secrets, "owner": owner, "status": {"stage": self.stage}}


class JobsHub:
    """The server. Use as a context; `url` is what HF_ENDPOINT must be.

    Args:
        hub: answers what is not of jobs, and knows the tokens.
        folder: for the shared storage (`shared://` in jobs and in whoever has `environment`), and for the jobs' homes.
    """

    def __init__(self, hub: StandIn, folder: Path) -> None:
        self.hub, self.folder = hub, folder
        self.storage, self.site = folder / "storage", folder / "site"
        for path in (self.storage, self.site):
            path.mkdir(parents=True)
        (self.site / "sitecustomize.py").write_text(_SITE)
        self.jobs: list[Job] = []
        self.refuse: tuple[int, str] | None = None
        self.hold = False
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    @property
    def environment(self) -> dict[str, str]:
        """What a process needs to see the shared storage."""
        return {"SHARED_STORAGE": str(self.storage), "PYTHONPATH": f"{self.site}:{_ROOT}"}

    def __enter__(self) -> "JobsHub":
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        for job in self.jobs:
            self._end(job)

    def answer(self, method: str, path: str, query: dict[str, list[str]], body: bytes, token: str | None) -> Answer:
        """Answer a request about jobs."""
        if token not in self.hub.tokens:
            raise Refusal(401, "", "Invalid username or password.")
        if path == "/api/whoami-v2":
            return _json({"name": "member", "type": "user"})
        found = re.fullmatch(r"/api/jobs/([\w-]+)(?:/(\w+))?(?:/(cancel|logs))?", path)
        assert found, path
        namespace, name, what = found.groups()
        with self._lock:
            if name is None and method == "POST":
                if self.refuse is not None:
                    raise Refusal(self.refuse[0], "", self.refuse[1])
                return _json(self._start(namespace, json.loads(body)).info)
            if name is None:
                wanted = dict(label.split("=", 1) for label in query.get("label", []))
                return _json([job.info for job in self.jobs if wanted.items() <= job.spec["labels"].items()])
            job = next((job for job in self.jobs if (job.namespace, job.id) == (namespace, name)), None)
            if job is None:
                raise Refusal(404, "", "Job not found")
            if what == "cancel":
                self._end(job)
                job.stage = "CANCELED"
            if what == "logs":
                events = "".join(f"data: {json.dumps({'data': line})}\n\n" for line in job.log.splitlines())
                return Answer(200, events.encode(), {"Content-Type": "text/event-stream"})
            return _json(job.info)

    def _start(self, namespace: str, spec: dict[str, Any]) -> Job:
        job = Job(uuid.uuid4().hex[:24], namespace, spec)
        self.jobs.append(job)
        if not self.hold:
            self.run(job)
        return job

    def run(self, *jobs: Job) -> None:
        """Start jobs that are there, as it happens by itself unless `hold` is set."""
        for job in jobs:
            threading.Thread(target=self._run, args=(job,), daemon=True).start()

    def _run(self, job: Job) -> None:
        home = self.folder / "homes" / job.id
        home.mkdir(parents=True, exist_ok=True)
        plain = {"PATH": os.environ["PATH"], "HOME": str(home), "HF_ENDPOINT": self.url, "OMP_NUM_THREADS": "1"}
        environment = {**plain, **self.environment, "HF_HUB_DISABLE_XET": "1", **job.spec["environment"]}
        python, *rest = job.spec["command"]
        assert python == "python", job.spec["command"]
        job.process = subprocess.Popen(
            [sys.executable, *rest],
            env={**environment, **job.spec["secrets"]},
            cwd=home,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        job.stage = "RUNNING"
        # Reading to the end is waiting for it.
        job.log = job.process.communicate()[0]
        if job.stage == "RUNNING":
            job.stage = "ERROR" if job.process.returncode else "COMPLETED"

    def _end(self, job: Job) -> None:
        if job.process is not None and job.process.poll() is None:
            job.stage = "CANCELED"
            job.process.send_signal(signal.SIGKILL)


def _json(value: Any) -> Answer:
    return Answer(200, json.dumps(value).encode())


def _handler(server: JobsHub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _serve(self) -> None:
            parts = urlsplit(self.path)
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            answer = self._answer(self.command, parts.path, parse_qs(parts.query), body)
            self.send_response(answer.status)
            headers = {"Content-Type": "application/json", **answer.headers, "Content-Length": str(len(answer.body))}
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(b"" if self.command == "HEAD" else answer.body)

        def _answer(self, method: str, path: str, query: dict[str, list[str]], body: bytes) -> Answer:
            request = Request(method, path, query | parse_qs(body.decode()), self.headers)  # type: ignore[arg-type]
            if not path.startswith(("/api/jobs/", "/api/whoami-v2")):
                return server.hub.answer(request)
            try:
                return server.answer(method, unquote(path), query, body, request.token)
            except Refusal as refusal:
                return refusal.answer({})

        do_GET = do_HEAD = do_POST = _serve

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    return Handler
