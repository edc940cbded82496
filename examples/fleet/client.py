"""Streams of audio from a fleet of Triton servers, each of which may go away at any time.

    async with Fleet("localhost:8001", "demo") as fleet:
        async with await fleet.open() as stream:
            async for mel in frames:                 # float32 [frames, mels], any number of frames
                play(await stream.decode(mel))       # float32 or int16 [samples]
            play(await stream.flush())

A stream is one gRPC call, so it stays with one server. The client keeps the last frames that a sample can depend on,
58 for the published model. Where the server is lost, refuses, or does not answer in time, it opens a new sequence,
wherever the balancer sends it, has these frames decoded again, drops their audio, and goes on: the audio is the same,
bit for bit, and nothing is lost or doubled.

Needs numpy and tritonclient[grpc].
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Literal

import grpc
import numpy as np
from numpy.typing import ArrayLike, NDArray
from tritonclient.grpc import service_pb2 as messages
from tritonclient.grpc.service_pb2_grpc import GRPCInferenceServiceStub

HEADER = "vocosc-stream"
"""The request header that balancers may route by: the same in all requests of a sequence."""

_CHANNEL = (
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    ("grpc.keepalive_time_ms", 10_000),
)
_FINAL = (grpc.StatusCode.NOT_FOUND, grpc.StatusCode.INVALID_ARGUMENT)  # no other server would say otherwise
_OUTPUTS = {"float32": "audio", "int16": "audio_int16"}

DType = Literal["float32", "int16"]


class ServerError(Exception):
    """What a server answered instead of audio."""


class FleetError(Exception):
    """A stream that no server took up again, however often it was tried."""


_LOST = (grpc.aio.AioRpcError, ServerError, TimeoutError, asyncio.TimeoutError, asyncio.InvalidStateError)


@dataclass(frozen=True)
class Model:
    """What the servers say of the model."""

    name: str
    mels: int
    hop: int
    sample_rate: int
    replay_frames: int
    request_frames: int


async def _pause(attempt: int) -> None:
    """Before an attempt, the first being 0: longer and longer."""
    if attempt > 0:
        await asyncio.sleep(min(0.02 * 2**attempt, 1.0))


class Fleet:
    """A model behind an address, with one connection for all its streams.

    `patience` is the seconds that an answer may take before the stream goes elsewhere, `attempts` how often in a row.
    """

    def __init__(self, address: str, model: str, *, patience: float = 2.0, attempts: int = 12) -> None:
        self.patience, self.attempts = patience, attempts
        self._channel = grpc.aio.insecure_channel(address, options=_CHANNEL)
        self.stub = GRPCInferenceServiceStub(self._channel)
        self._name = model
        self._model: Model | None = None

    async def __aenter__(self) -> Fleet:
        """Itself."""
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        """Ends the connection."""
        await self.close()

    async def close(self) -> None:
        """Ends the connection, and all streams with it."""
        await self._channel.close()

    async def model(self) -> Model:
        """What the model's configuration says; asked for once."""
        for attempt in range(self.attempts if self._model is None else 0):
            await _pause(attempt)
            request = messages.ModelConfigRequest(name=self._name)
            try:
                config = (await self.stub.ModelConfig(request, timeout=self.patience)).config
            except grpc.aio.AioRpcError as error:
                if attempt + 1 == self.attempts or error.code() in _FINAL:
                    raise FleetError(f"model {self._name}: {error.details()}") from None
                continue
            values = {key: value.string_value for key, value in config.parameters.items()}
            numbers = {key: int(values[key]) for key in ("hop", "sample_rate", "replay_frames", "request_frames")}
            self._model = Model(self._name, mels=int(config.input[0].dims[-1]), **numbers)
            break
        assert self._model is not None
        return self._model

    async def open(self, dtype: DType = "float32") -> Stream:
        """A new stream, in silence."""
        return Stream(self, await self.model(), dtype)


class Stream:
    """An utterance whose frames come bit by bit. One call at a time."""

    def __init__(self, fleet: Fleet, model: Model, dtype: DType) -> None:
        self.model, self.dtype = model, np.dtype(dtype)
        self.moves = 0
        """How often it has gone to another server, or to another sequence of the same one."""
        self._fleet, self._output = fleet, _OUTPUTS[dtype]
        self._nothing = np.zeros((0, model.mels), np.float32)
        self._kept = self._nothing  # the last frames that were decoded
        self._frames = self._samples = 0  # decoded so far, and received
        self._call: Any = None
        self._sequence = 0

    async def __aenter__(self) -> Stream:
        """Itself."""
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        """Leaves the server."""
        await self.close()

    async def close(self) -> None:
        """Ends the sequence, unheard, where there is one."""
        if self._call is not None:
            with contextlib.suppress(*_LOST), self._abandoned_on_error():
                await asyncio.wait_for(self._exchange(self._nothing, ends=True), self._fleet.patience)
                await self._leave()

    async def decode(self, mel: ArrayLike) -> NDArray[Any]:
        """The audio [samples] of some frames [frames, mels]. Raises ValueError for what no server would take."""
        frames = np.ascontiguousarray(mel, np.float32)
        if frames.ndim != 2 or frames.shape[1] != self.model.mels:
            raise ValueError(f"mel is {list(frames.shape)}; it must be [frames, {self.model.mels}]")
        if not np.isfinite(frames).all():
            frame, band = np.argwhere(~np.isfinite(frames))[0]
            raise ValueError(f"mel is NaN or infinite in frame {frame}, band {band}")
        size = self.model.request_frames - self.model.replay_frames or 1
        parts = [frames[start : start + size] for start in range(0, len(frames), size)]
        return np.concatenate([np.zeros(0, self.dtype), *[await self._decoded(part) for part in parts]])

    async def flush(self) -> NDArray[Any]:
        """The end of the utterance: the samples that are left. The next decode begins another."""
        audio = await self._decoded(self._nothing, ends=True)
        await self._leave()
        self._kept, self._frames, self._samples = self._nothing, 0, 0
        return audio

    async def move(self) -> None:
        """Begins another sequence with the next call, wherever that goes, as after a failure."""
        await self.close()

    async def _decoded(self, part: NDArray[np.float32], *, ends: bool = False) -> NDArray[Any]:
        """The audio of these frames alone, from this server or the next."""
        problem: Exception = FleetError("no attempt")
        for attempt in range(self._fleet.attempts):
            await _pause(attempt)
            begins = self._call is None
            try:
                with self._abandoned_on_error():
                    audio = await asyncio.wait_for(self._exchange(part, ends), self._fleet.patience)
                break
            except _LOST as error:
                problem = error
        else:
            raise FleetError(f"{self._fleet.attempts} attempts in a row have failed, the last one: {problem}")
        self._kept = np.concatenate([self._kept, part])[-self.model.replay_frames :]
        self.moves += begins and self._frames > 0
        self._frames += len(part)
        self._samples += len(audio)
        return audio

    async def _leave(self) -> None:
        """Says that no request follows, and waits until the server has said so, too: it is not to be interrupted."""
        with contextlib.suppress(*_LOST), self._abandoned_on_error():
            await asyncio.wait_for(self._closed(), self._fleet.patience)
        self._call = None

    async def _closed(self) -> None:
        await self._call.done_writing()
        while await self._call.read() is not grpc.aio.EOF:
            pass

    @contextlib.contextmanager
    def _abandoned_on_error(self) -> Iterator[None]:
        """The call is of no use after an error, nor after its caller was cancelled: the next one goes elsewhere."""
        try:
            yield
        except BaseException:
            call, self._call = self._call, None
            if call is not None:
                call.cancel()
            raise

    async def _exchange(self, part: NDArray[np.float32], ends: bool) -> NDArray[Any]:
        """One request and its answer. The first of a sequence begins with the frames that are decoded again."""
        starts, skipped = self._call is None, 0
        if starts:
            # What these frames gave the first time; a model that looks ahead gives less than a hop for some.
            skipped = self._samples - (self._frames - len(self._kept)) * self.model.hop
            part = np.concatenate([self._kept, part])
            self._sequence = secrets.randbelow(2**63 - 1) + 1
            self._call = self._fleet.stub.ModelStreamInfer(metadata=((HEADER, str(self._sequence)),))
        await self._call.write(self._request(part, starts, ends))
        answer = await self._call.read()
        if answer is grpc.aio.EOF:
            raise ServerError(f"the server has ended the call: {await self._call.details()}")
        if answer.error_message:
            raise ServerError(answer.error_message)
        return np.frombuffer(answer.infer_response.raw_output_contents[0], self.dtype)[skipped:]

    def _request(self, part: NDArray[np.float32], starts: bool, ends: bool) -> Any:
        request = messages.ModelInferRequest(model_name=self.model.name)
        request.parameters["sequence_id"].int64_param = self._sequence
        request.parameters["sequence_start"].bool_param = starts
        request.parameters["sequence_end"].bool_param = ends
        mel = request.inputs.add(name="mel", datatype="FP32", shape=[1, *part.shape])
        assert mel is not None
        request.outputs.add(name=self._output)
        request.raw_input_contents.append(part.tobytes())
        return request
