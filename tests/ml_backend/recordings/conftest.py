"""Small pictures, videos whose frames carry their number, and a web server that misbehaves on request."""

import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import cv2
import numpy as np
import pytest

from label_config.values import ByteArray
from ml_backend.recordings import UnreadableImageError

BITS = 8


def numbered_picture(number: int, width: int = 64, height: int = 48) -> ByteArray:
    """RGB picture whose left to right stripes are the bits of ``number``: survives lossy codecs."""
    stripes = [255 * (number >> bit & 1) for bit in range(BITS)]
    row = np.repeat(np.array(stripes, dtype=np.uint8), width // BITS)
    return np.repeat(np.broadcast_to(row, (height, width))[..., None], 3, axis=-1).copy()


def read_number(picture: ByteArray) -> int:
    step = picture.shape[1] // BITS
    return sum(1 << bit for bit in range(BITS) if picture[:, bit * step + step // 4 : (bit + 1) * step - step // 4].mean() > 127)


def readable(picture: ByteArray | UnreadableImageError) -> ByteArray:
    """The picture, which must be one."""
    assert not isinstance(picture, UnreadableImageError), picture
    return picture


def write_video(path: Path, n_frames: int, fps: float = 30.0, size: tuple[int, int] = (64, 48)) -> Path:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), fps, size)
    assert writer.isOpened()
    for i in range(n_frames):
        writer.write(numbered_picture(i, *size))
    writer.release()
    return path


def encode_video(
    path: Path,
    codec: str,
    n_frames: int = 40,
    *,
    size: tuple[int, int] = (256, 192),
    times_ms: Sequence[int] = (),
    **options: str,
) -> Path:
    """A video of any codec whose frames carry their number; ``times_ms`` are those of the frames, 30 a second without."""
    with av.open(str(path), "w", format=options.pop("container", None)) as container:
        stream = container.add_stream(codec, rate=30, options={"g": "12", **options})
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height = size
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        stream.codec_context.time_base = Fraction(1, 1000) if times_ms else Fraction(1, 30)
        for i in range(n_frames):
            frame = av.VideoFrame.from_ndarray(numbered_picture(i, *size), format="rgb24")
            frame.pts = times_ms[i] if times_ms else i
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def damage_packet(path: Path, number: int) -> Path:
    """Zeros in the second half of a packet, by its place in the file."""
    with av.open(str(path)) as container:
        packets = [(packet.pos, packet.size) for packet in container.demux(container.streams.video[0]) if packet.size]
    position, size = packets[number]
    assert position is not None
    data = bytearray(path.read_bytes())
    data[position + size // 2 : position + size] = bytes(size - size // 2)
    path.write_bytes(data)
    return path


def encode(picture: ByteArray, suffix: str = ".jpg") -> bytes:
    ok, data = cv2.imencode(suffix, picture[..., ::-1])
    assert ok
    return data.tobytes()


@pytest.fixture(scope="session")
def make() -> SimpleNamespace:
    """Makers of small test material."""
    return SimpleNamespace(
        picture=numbered_picture, number=read_number, video=write_video, encode=encode, encoded=encode_video, damage=damage_packet
    )


@dataclass
class Server:
    """``answers[path]`` = (status, headers, body); every request is kept with its headers and body."""

    url: str
    answers: dict[str, tuple[int, dict[str, str], bytes]] = field(default_factory=dict)
    seen: list[tuple[str, str, dict[str, str], bytes]] = field(default_factory=list)
    drip_s: float = 0.0

    @property
    def paths(self) -> list[str]:
        return [path for _, path, _, _ in self.seen]

    def authorizations(self) -> list[str | None]:
        return [headers.get("authorization") for _, _, headers, _ in self.seen]


def _serve() -> tuple[Server, ThreadingHTTPServer]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            state.seen.append((self.command, self.path, {k.lower(): v for k, v in self.headers.items()}, body))
            status, headers, content = state.answers.get(self.path, (404, {}, b"nothing here"))
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            if "content-length" not in headers:
                self.send_header("content-length", str(len(content)))
            self.end_headers()
            try:
                for start in range(0, len(content), 4096):
                    self.wfile.write(content[start : start + 4096])
                    self.wfile.flush()
                    time.sleep(state.drip_s)
            except OSError:
                pass  # the client has gone

        do_POST = do_GET

        def log_message(self, *_: Any) -> None:
            pass

    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    httpd.daemon_threads = True
    state = Server(f"http://127.0.0.1:{httpd.server_port}")
    threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    return state, httpd


@pytest.fixture
def server() -> Iterator[Server]:
    state, httpd = _serve()
    yield state
    httpd.shutdown()
    httpd.server_close()


@pytest.fixture
def other_server() -> Iterator[Server]:
    state, httpd = _serve()
    yield state
    httpd.shutdown()
    httpd.server_close()
