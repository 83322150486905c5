"""The engine as a process: what it says on its socket, and when it leaves."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.fixtures.random_embedder_gguf import write_random_embedder_gguf
from zoe_server import codec
from zoe_server.codec import decode_vector, encode_request
from zoe_server.engines.process import python_env
from zoe_server.llama import service
from zoe_server.llama.config import EngineConfig
from zoe_server.llama.worker import Emit, SlowPart
from zoe_server.protocol import ChatRequest, EmbedRequest, Finish, Sampling, Started, Usage

pytestmark = pytest.mark.timeout(120)


class Process:
    """An engine process and the one connection to it."""

    def __init__(self, process: asyncio.subprocess.Process, socket_path: Path) -> None:
        self.process = process
        self.socket_path = socket_path
        self.messages: list[dict[str, Any]] = []
        self.writer: asyncio.StreamWriter | None = None

    async def connect(self) -> None:
        while self.writer is None:
            assert self.process.returncode is None, "the engine ended before it listened"
            try:
                self.reader, self.writer = await asyncio.open_unix_connection(str(self.socket_path))
            except (FileNotFoundError, ConnectionRefusedError):  # a socket is there before it is listened on
                await asyncio.sleep(0.02)

    async def disconnect(self) -> None:
        if self.writer is not None:
            self.writer.close()
            with contextlib.suppress(ConnectionError):  # the engine may have gone first
                await self.writer.wait_closed()

    def send(self, **message: object) -> None:
        self.write(json.dumps(message).encode() + b"\n")

    def write(self, line: bytes) -> None:
        assert self.writer is not None
        self.writer.write(line)

    def chat(self, name: str, text: str = "hello", **fields: object) -> None:
        fields = {"max_tokens": 8, "sampling": Sampling(temperature=0.0)} | fields
        messages = ({"role": "user", "content": text},)
        request = ChatRequest(name, "m", messages, **fields)  # type: ignore[arg-type]  # any of its fields
        self.send(op="chat", id=name, request=encode_request(request))

    async def until(self, event: str, name: str | None = None) -> dict[str, Any]:
        """Return the next message of that kind; what comes before is kept in `messages`."""
        while line := await self.reader.readline():
            message: dict[str, Any] = json.loads(line)
            self.messages.append(message)
            if message["event"] == event and message.get("id") == name:
                return message
        pytest.fail(f"the engine ended without {event}; it said {self.messages}")

    def end_stdin(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()

    async def exit_code(self) -> int:
        return await asyncio.wait_for(self.process.wait(), 30)


Start = Callable[..., Awaitable[Process]]


@pytest.fixture
async def start(tmp_path: Path, tiny_gguf: Path) -> AsyncIterator[Start]:
    processes: list[Process] = []

    async def run(**config: object) -> Process:
        socket_path = tmp_path / f"{len(processes)}.sock"
        settings = {"model_path": str(tiny_gguf), "socket_path": str(socket_path), "n_threads": 1} | config
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "zoe_server.llama", "--config", json.dumps(settings)),
            stdin=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={**os.environ, **python_env()},
        )
        processes.append(Process(process, socket_path))
        return processes[-1]

    yield run
    for one in processes:
        if one.process.returncode is None:
            one.process.kill()
        await one.process.communicate()
        await one.disconnect()


@pytest.fixture
async def ready(start: Start) -> Process:
    process = await start()
    await process.connect()
    await process.until("ready")
    return process


async def test_transcript(ready: Process) -> None:
    """Everything one engine says: loading, an answer, statistics, cancellations, refusals; then its stdin ends."""
    phases = [message["phase"] for message in ready.messages if message["event"] == "loading"]
    assert (phases[0], phases[-1], set(phases)) == ("model", "warmup", {"model", "warmup"})
    shares = [message["progress"] for message in ready.messages if "progress" in message]
    assert len(shares) > 2
    assert (shares[0], shares[-1]) == (0.0, 1.0)
    assert shares == sorted(shares)
    info = ready.messages[-1]["info"]
    assert info["dialect"] == "hermes"
    assert info["load_s"] > 0
    assert [name for name, yes in info["capabilities"].items() if yes] == [
        *("tools", "schemas", "logprobs", "raw_prompts", "tokenizer", "priming", "argument_values")
    ]
    assert "<tool_call>" in info["chat_template"]
    assert info["header"]["llama.context_length"] >= info["n_ctx_tokens"]

    ready.chat("a")
    finish = await ready.until("finish", "a")
    assert finish["usage"]["completion_tokens"] == 8
    assert finish["timings"]["total_s"] >= finish["timings"]["first_token_s"] > 0
    events = [message["event"] for message in ready.messages if message.get("id") == "a"]
    assert events[0] == "started"
    assert events[-1] == "finish"
    assert set(events[1:-1]) == {"text"}

    ready.send(op="stats")
    assert (await ready.until("stats"))["computed_tokens"] > 0

    ready.chat("long", max_tokens=None)
    await ready.until("text", "long")
    ready.send(op="cancel", id="long")
    assert (await ready.until("finish", "long"))["reason"] == "cancelled"

    ready.chat("at once", max_tokens=None)
    ready.send(op="cancel", id="at once")
    assert (await ready.until("finish", "at once"))["reason"] == "cancelled"

    ready.chat("too long", "word " * 20_000)
    assert (await ready.until("failure", "too long"))["error"]["class"] == "ContextSizeError"
    ready.chat("bad number", sampling=Sampling(repeat_penalty=0.0))
    assert (await ready.until("failure", "bad number"))["error"]["param"] == "repeat_penalty"
    ready.send(op="chat", id="nonsense", request={"what": "?"})
    assert (await ready.until("failure", "nonsense"))["error"]["class"] == "EngineError"
    ready.send(op="tokenize", id="half a question")
    assert (await ready.until("failure", "half a question"))["error"]["class"] == "EngineError"

    ready.chat("after all that")
    await ready.until("finish", "after all that")
    ready.end_stdin()
    assert await ready.exit_code() == 0
    assert not ready.socket_path.exists()


async def test_transcript_of_an_embedding_model(start: Start, tmp_path: Path) -> None:
    """Vectors, a cancellation, refusals, and its tokens; then it goes on."""
    path = write_random_embedder_gguf(tmp_path / "embedder.gguf")
    process = await start(model_path=str(path))
    await process.connect()
    info = (await process.until("ready"))["info"]
    assert (info["capabilities"]["embeddings"], info["pooling"], info["dimensions"]) == (True, "mean", 64)
    assert info["header"]["bert.embedding_length"] == 64

    process.send(op="embed", id="a", request=encode_request(EmbedRequest("a", "m", ("turn on the lamp", (2, 3)))))
    finish = await process.until("finish", "a")
    vectors = [message for message in process.messages if message.get("id") == "a"][:-1]
    assert sorted(vector["index"] for vector in vectors) == [0, 1]
    assert {len(decode_vector(vector["vector"])) for vector in vectors} == {64}
    assert (finish["reason"], finish["usage"]["prompt_tokens"]) == ("stop", 8)
    assert finish["timings"]["total_s"] >= finish["timings"]["first_token_s"] > 0

    many = ("lamp " * 400,) * 500
    process.send(op="embed", id="many", request=encode_request(EmbedRequest("many", "m", many)))
    await process.until("embedding", "many")
    process.send(op="cancel", id="many")
    assert (await process.until("finish", "many"))["reason"] == "cancelled"
    process.send(op="embed", id="at once", request=encode_request(EmbedRequest("at once", "m", many)))
    process.send(op="cancel", id="at once")
    assert (await process.until("finish", "at once"))["reason"] == "cancelled"

    process.chat("chat")
    assert (await process.until("failure", "chat"))["error"]["class"] == "ModelKindError"
    process.send(op="embed", id="no token", request=encode_request(EmbedRequest("no token", "m", ((10**6,),))))
    assert (await process.until("failure", "no token"))["error"]["param"] == "input"
    process.send(op="tokenize", id="q", text="lamp", add_special=True, parse_special=True)
    assert len((await process.until("tokens", "q"))["tokens"]) == 3
    process.send(op="stats")
    assert (await process.until("stats"))["computed_tokens"] >= 8
    await process.until("progress")
    process.end_stdin()
    assert await process.exit_code() == 0


async def test_idle_engine_reports_progress_every_second(ready: Process) -> None:
    clock = asyncio.get_running_loop()
    await ready.until("progress")
    before = clock.time()
    for _ in range(2):
        await ready.until("progress")
    assert clock.time() - before < 4


async def test_engine_volunteers_for_the_oom_killer_and_hides_its_socket(ready: Process) -> None:
    score = await asyncio.to_thread(Path(f"/proc/{ready.process.pid}/oom_score_adj").read_text)
    assert int(score) == 500
    assert os.stat(ready.socket_path).st_mode & 0o077 == 0  # noqa: PTH116 -- no wait here


async def test_lost_connection_ends_the_engine(ready: Process) -> None:
    ready.chat("a", max_tokens=None)
    await ready.until("text", "a")
    await ready.disconnect()
    assert await ready.exit_code() == 0


async def test_second_gateway_is_turned_away(ready: Process) -> None:
    reader, writer = await asyncio.open_unix_connection(str(ready.socket_path))
    assert await reader.read() == b""
    writer.close()
    await writer.wait_closed()
    ready.chat("a")
    await ready.until("finish", "a")


async def test_stdin_may_end_before_anybody_connects(start: Start) -> None:
    process = await start()
    process.end_stdin()
    assert await process.exit_code() == 0


async def test_sigterm_ends_the_engine(ready: Process) -> None:
    ready.process.send_signal(signal.SIGTERM)
    assert await ready.exit_code() == 0


async def test_bad_model_file_is_fatal_and_said_so(start: Start, tmp_path: Path) -> None:
    path = tmp_path / "bad.gguf"
    path.write_bytes(b"GGUF" + bytes(64))
    process = await start(model_path=str(path))
    await process.connect()
    fatal = await process.until("fatal")
    assert "bad.gguf is not a readable GGUF model" in fatal["error"]["message"]
    assert await process.exit_code() == 3


async def test_template_that_cannot_be_used_is_fatal(start: Start) -> None:
    process = await start(chat_template="{% if %}")
    await process.connect()
    assert "template" in (await process.until("fatal"))["error"]["message"]
    assert await process.exit_code() == 3


@pytest.mark.parametrize(("key", "value"), [("n_ctxx", 1), ("dialect", "klingon")])
async def test_what_is_wrong_in_the_configuration_is_named(start: Start, key: str, value: object) -> None:
    process = await start(**{key: value})
    _, stderr = await process.process.communicate()
    assert process.process.returncode == 2
    assert key in stderr.decode()


async def test_line_that_is_no_message_ends_the_engine(ready: Process) -> None:
    ready.write(b"GET / HTTP/1.1\n")
    assert await ready.exit_code() == 0


class BrokenWorker:
    """The edge that is played: a worker of which one part raises what nobody has thought of."""

    op = "chat"

    def __init__(self, part: str) -> None:
        self.loop = self
        self._part = part
        self._stopped = threading.Event()
        self.given_up = 0

    def _break(self, part: str) -> None:
        if part == self._part:
            raise MemoryError("Unable to allocate 9 TiB for an array")

    def prepare(self, _data: object, _arrived_s: float) -> str:
        self._break("prepare")
        return "job"

    def slow_part(self, _job: str) -> SlowPart | None:
        self._break("slow_part")
        return lambda: self._break("slow part's work"), 0

    def submit(self, _job: str) -> None:
        self._break("submit")

    def give_up(self, _job: str) -> Finish:
        self.given_up += 1
        return Finish("cancelled", Usage(0))

    def run(self) -> None:
        self._stopped.wait()

    def stop(self) -> None:
        self._stopped.set()

    def info(self) -> dict[str, Any]:
        return {}

    header = info

    def warm_up(self) -> None:
        pass

    close = warm_up


class SlowReader(BrokenWorker):
    """The edge that is played: a worker that reads a long request for as long as nobody lets it go on."""

    def __init__(self) -> None:
        super().__init__("submit")
        self.go_on = threading.Event()
        self.read: list[str] = []
        self.intake: object = None

    def prepare(self, data: Any, _arrived_s: float) -> str:  # noqa: ANN401 -- what the gateway sent
        self.read.append(data["text"][:10])
        if data["text"]:
            assert self.go_on.wait(10)
        return "job"

    def slow_part(self, _job: str) -> None:
        pass

    def stats(self) -> dict[str, Any]:
        return {}


class PictureWorker(BrokenWorker):
    """The edge that is played: a worker whose jobs hold as many bytes as their requests say, until a test ends them."""

    def __init__(self) -> None:
        super().__init__("")
        self.encoded: list[str] = []
        self.emit: Emit = lambda _name, _events: None

    def prepare(self, data: Any, _arrived_s: float) -> Any:  # noqa: ANN401 -- what the gateway sent
        return data

    def slow_part(self, job: Any) -> SlowPart:  # noqa: ANN401
        return lambda: self.encoded.append(job["name"]), job["n_bytes"]

    def submit(self, job: Any) -> None:  # noqa: ANN401
        self.emit(job["name"], [Started(1, 0)])

    def end(self, name: str) -> None:
        self.emit(name, [Finish("stop", Usage(0))])


@asynccontextmanager
async def served(
    worker: BrokenWorker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncGenerator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """Lend a connection to the service around `worker`, in this process."""

    def opened(*_args: object, emit: Emit, **_callbacks: object) -> BrokenWorker:
        if isinstance(worker, PictureWorker):
            worker.emit = emit
        return worker

    monkeypatch.setattr(service, "open_worker", opened)
    monkeypatch.setattr(service.Service, "_watch_stdin", lambda _self: None)
    config = EngineConfig(model_path=tmp_path / "unused", socket_path=tmp_path / "socket")
    serving = asyncio.create_task(service.Service(config).run())
    while not config.socket_path.exists():  # noqa: ASYNC110 -- a file that another task makes
        await asyncio.sleep(0)
    reader, writer = await asyncio.open_unix_connection(config.socket_path)
    async with asyncio.timeout(10):
        while json.loads(await reader.readline())["event"] != "ready":
            pass
        yield reader, writer
        writer.close()
        assert await serving == service.EXIT_LEFT


@pytest.mark.parametrize("long", [{"text": "x" * 300_000}, {"text": "x", "answer_schema": {"kind": "regex"}}])
async def test_a_long_request_is_prepared_beside_the_others(
    long: dict[str, object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = SlowReader()
    async with served(worker, tmp_path, monkeypatch) as (reader, writer):
        for name, request in (("long", long), ("short", {"text": ""})):
            writer.write(json.dumps({"op": "chat", "id": name, "request": request}).encode() + b"\n")
        assert json.loads(await reader.readline())["id"] == "short"
        worker.go_on.set()
        assert json.loads(await reader.readline())["id"] == "long"


async def test_who_would_hold_too_much_waits_in_line_until_others_are_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit = service._HELD_BYTES
    worker = PictureWorker()
    async with served(worker, tmp_path, monkeypatch) as (reader, writer):

        async def told() -> tuple[str, str]:
            message = json.loads(await reader.readline())
            return message["id"], message["event"]

        sizes = {"a": limit - 1, "b": 1, "large": 2 * limit, "leaves": 1, "small": 1}
        for name, n_bytes in sizes.items():
            request = {"name": name, "n_bytes": n_bytes}
            writer.write(json.dumps({"op": "chat", "id": name, "request": request}).encode() + b"\n")
        assert [await told(), await told()] == [("a", "started"), ("b", "started")]
        writer.write(json.dumps({"op": "cancel", "id": "leaves"}).encode() + b"\n")
        assert await told() == ("leaves", "finish")
        worker.end("a")
        assert await told() == ("a", "finish")
        assert worker.encoded == ["a", "b"]  # the large one waits for all, and the small one waits behind it
        worker.end("b")
        assert [await told(), await told()] == [("b", "finish"), ("large", "started")]
        worker.end("large")
        assert [await told(), await told()] == [("large", "finish"), ("small", "started")]
    assert worker.encoded == ["a", "b", "large", "small"]


async def test_who_leaves_before_its_turn_is_not_prepared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    worker = SlowReader()
    async with served(worker, tmp_path, monkeypatch) as (reader, writer):
        for name in ("first", "second"):
            writer.write(json.dumps({"op": "chat", "id": name, "request": {"text": name}}).encode() + b"\n")
        writer.write(json.dumps({"op": "cancel", "id": "second"}).encode() + b"\n")
        writer.write(json.dumps({"op": "stats"}).encode() + b"\n")
        assert json.loads(await reader.readline())["event"] == "stats"  # so the cancellation is read, too
        worker.go_on.set()
        ends = [json.loads(await reader.readline()) for _ in range(2)]
        assert {end["id"]: end["event"] for end in ends} == {"first": "failure", "second": "finish"}
    assert worker.read == ["first"]


async def test_an_answer_that_is_too_long_to_be_read_is_a_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = SlowReader()
    worker.intake = SimpleNamespace(detokenize=lambda tokens: "x" * len(tokens))
    async with served(worker, tmp_path, monkeypatch) as (reader, writer):
        monkeypatch.setattr(codec, "MAX_LINE_BYTES", 1000)
        for n_tokens in (1000, 9):
            writer.write(json.dumps({"op": "detokenize", "id": "q", "tokens": [1] * n_tokens}).encode() + b"\n")
        failed, told = [json.loads(await reader.readline()) for _ in range(2)]
    assert (failed["id"], failed["event"], failed["error"]["class"]) == ("q", "failure", "BodyTooLargeError")
    assert told["text"] == "x" * 9


@pytest.mark.parametrize("part", ["prepare", "slow_part", "slow part's work", "submit"])
async def test_whatever_is_raised_before_a_request_runs_is_its_one_terminal_event(
    part: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = BrokenWorker(part)
    async with served(worker, tmp_path, monkeypatch) as (reader, writer):
        for name in ("a", "b"):
            writer.write(json.dumps({"op": "chat", "id": name, "request": {}}).encode() + b"\n")
            message = json.loads(await reader.readline())
            assert (message["id"], message["event"], message["error"]["class"]) == (name, "failure", "EngineError")
    assert worker.given_up == (0 if part == "prepare" else 2)
