"""Publishes or watches with aiortc: OpenSSL's DTLS, libsrtp, libvpx, FFmpeg, and an ICE agent of its own."""

import asyncio
import time
from array import array
from fractions import Fraction
from math import pi, sin

import aioice.ice
import av
from aiortc import MediaStreamTrack, RTCConfiguration, RTCPeerConnection, RTCRtpReceiver, RTCRtpSender
from aiortc import RTCSessionDescription
from aiortc.mediastreams import MediaStreamError

from orders import Session, next_order, tell
from tally import Tally

WIDTH, HEIGHT, FPS = 320, 240, 20
HZ = 48_000
BLOCK = HZ // 50
# 400 Hz have 120 samples a period: a block of 20 ms holds eight of them and joins the next without a click.
TONE = array("h", (round(8_000 * sin(2 * pi * 400 * at / HZ)) for at in range(BLOCK))).tobytes()
STRIPES = bytes((2 * x) % 256 for x in range(WIDTH + 256))

# The library leaves loopback out, which may be the only interface of a machine that runs tests.
aioice.ice.get_host_addresses = lambda use_ipv4, use_ipv6: ["127.0.0.1"]


class Paced(MediaStreamTrack):
    """A source whose frames are due at a steady rate."""

    def __init__(self, rate):
        super().__init__()
        self._rate = rate
        self._begin = time.monotonic()
        self._count = 0

    async def due(self):
        """Resolves to the frame's number when its time has come."""
        await asyncio.sleep(max(0, self._begin + self._count / self._rate - time.monotonic()))
        self._count += 1
        return self._count


class Stripes(Paced):
    """Diagonal stripes that wander, so that each picture differs from the one before."""

    kind = "video"

    async def recv(self):
        number = await self.due()
        frame = av.VideoFrame(WIDTH, HEIGHT, "yuv420p")
        luma, *chroma = frame.planes
        rows = (STRIPES[(3 * y + 4 * number) % 256 :][:WIDTH] for y in range(HEIGHT))
        luma.update(b"".join(row.ljust(luma.line_size, b"\0") for row in rows))
        for plane in chroma:
            plane.update(b"\x80" * plane.buffer_size)
        frame.pts, frame.time_base = number, Fraction(1, FPS)
        return frame


class Tone(Paced):
    kind = "audio"

    async def recv(self):
        number = await self.due()
        frame = av.AudioFrame(format="s16", layout="mono", samples=BLOCK)
        frame.planes[0].update(TONE)
        frame.sample_rate = HZ
        frame.pts, frame.time_base = number * BLOCK, Fraction(1, HZ)
        return frame


async def watch_picture(track, tally, live):
    while True:
        frame = await track.recv()
        tally.picture(frame.planes[0])
        if tally.settled:
            live.set()


async def listen(track, tally):
    while True:
        frame = await track.recv()
        tally.sound(frame.samples, bytes(frame.planes[0]))


def prefer(transceiver, capabilities, codec):
    wanted = (f"video/{codec}".lower(), "video/rtx")
    transceiver.setCodecPreferences([one for one in capabilities.codecs if one.mimeType.lower() in wanted])


async def main():
    wish = await asyncio.to_thread(next_order)
    # With max-bundle the library takes the candidates of the last section, not of the bundle's first.
    connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    live = asyncio.Event()
    tally = Tally()
    consumers = []
    failure = asyncio.get_running_loop().create_future()

    @connection.on("connectionstatechange")
    def on_state():
        if connection.connectionState == "connected" and wish["do"] == "publish":
            live.set()
        if connection.connectionState == "failed":
            failure.set_exception(RuntimeError("the connection failed"))
            live.set()

    @connection.on("track")
    def on_track(track):
        consumer = watch_picture(track, tally, live) if track.kind == "video" else listen(track, tally)
        consumers.append(asyncio.create_task(consumer))

    if wish["do"] == "publish":
        connection.addTransceiver(Tone(HZ / BLOCK), "sendonly")
        video = connection.addTransceiver(Stripes(FPS), "sendonly")
        prefer(video, RTCRtpSender.getCapabilities("video"), wish["codec"])
    else:
        connection.addTransceiver("audio", "recvonly")
        video = connection.addTransceiver("video", "recvonly")
        prefer(video, RTCRtpReceiver.getCapabilities("video"), wish["codec"])

    session = None
    try:
        await connection.setLocalDescription(await connection.createOffer())
        offer = connection.localDescription.sdp
        session = await asyncio.to_thread(Session, wish["endpoint"], wish["token"], offer)
        await connection.setRemoteDescription(RTCSessionDescription(session.answer, "answer"))
        await live.wait()
        if failure.done():
            failure.result()
        tell(live=True)
        while (await asyncio.to_thread(next_order))["do"] == "read":
            for consumer in consumers:
                if consumer.done() and not isinstance(consumer.exception(), MediaStreamError):
                    consumer.result()
            tell(reading={**tally.reading(), "codec": session.codec(), "state": connection.connectionState})
    finally:
        for consumer in consumers:
            consumer.cancel()
        status = await asyncio.to_thread(session.end) if session else None
        await connection.close()
    tell(left=status)


try:
    asyncio.run(main())
except Exception as error:  # whatever it is, the test has to read it
    tell(error=f"{type(error).__name__}: {error}")
