"""Publishes or watches with GStreamer's webrtcbin: OpenSSL's DTLS, libsrtp, libnice.

By itself it identifies itself with an RSA certificate, which the node's DTLS does not verify; the wish's
`certificate` says which kind to take.
"""

import hashlib
import queue
import re
import ssl
import subprocess

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstSdp", "1.0")
gi.require_version("GstWebRTC", "1.0")
from gi.repository import Gst, GstSdp, GstWebRTC  # noqa: E402

from orders import Session, next_order, tell  # noqa: E402
from tally import Tally  # noqa: E402

# The media path stands, or a picture shows, within this, or never.
LIVE_S = 20

# Keyframes come when the node asks for one, at most every half second, and every ten seconds anyway.
ENCODERS = {
    "VP8": "vp8enc deadline=1 cpu-used=8 target-bitrate=600000 keyframe-max-dist=200 ! rtpvp8pay pt=96 picture-id-mode=15-bit",
    "H264": "openh264enc bitrate=600000 gop-size=200 complexity=low ! video/x-h264,profile=constrained-baseline"
    " ! rtph264pay pt=96 config-interval=-1 aggregate-mode=zero-latency",
}
DECODERS = {
    "VP8": "rtpvp8depay request-keyframe=true wait-for-keyframe=true ! vp8dec",
    "H264": "rtph264depay request-keyframe=true wait-for-keyframe=true ! h264parse ! openh264dec",
    "OPUS": "rtpopusdepay ! opusdec ! audioconvert",
}
VIDEO = {
    "VP8": "application/x-rtp,media=video,encoding-name=VP8,clock-rate=90000,payload=96,rtcp-fb-nack-pli=(boolean)true",
    "H264": "application/x-rtp,media=video,encoding-name=H264,clock-rate=90000,payload=96,packetization-mode=(string)1,"
    "profile-level-id=(string)42e01f,rtcp-fb-nack-pli=(boolean)true",
}
AUDIO = "application/x-rtp,media=audio,encoding-name=OPUS,clock-rate=48000,payload=97,encoding-params=(string)2"
PICTURE = "video/x-raw,format=I420"
SOUND = "audio/x-raw,format=S16LE,channels=1,rate=48000"


class Peer:
    """One webrtcbin in a pipeline. Its callbacks come on GStreamer's threads; everything else on one."""

    def __init__(self, wish):
        self.tally = Tally()
        self._wish = wish
        self._news = queue.Queue()
        self._heard = set()
        self._replies = []
        if wish["do"] == "publish":
            self._pipeline = Gst.parse_launch(publishing(wish["codec"]))
        else:
            self._pipeline = Gst.parse_launch("pipeline. ( webrtcbin name=peer bundle-policy=max-bundle )")
        self._peer = self._pipeline.get_by_name("peer")
        self._fingerprint = None
        if wish["certificate"] == "ecdsa":
            key, certificate = ecdsa_identity()
            self._peer.connect("deep-element-added", lambda _peer, _bin, element: identify(element, key + certificate))
            digest = hashlib.sha256(ssl.PEM_cert_to_DER_cert(certificate)).digest()
            self._fingerprint = ":".join(f"{byte:02X}" for byte in digest)
        self._pipeline.get_bus().set_sync_handler(self._on_message)
        self._peer.connect("on-negotiation-needed", lambda _: self._news.put("a wish to negotiate"))
        self._peer.connect("notify::ice-gathering-state", self._on_gathering)
        self._peer.connect("notify::connection-state", self._on_connection)
        self._peer.connect("pad-added", self._on_pad)

    def join(self):
        """Offers, with all candidates, and applies the answer; returns the session once media flows."""
        directions = GstWebRTC.WebRTCRTPTransceiverDirection
        if self._wish["do"] == "publish":
            for index in range(2):
                transceiver = self._peer.emit("get-transceiver", index)
                transceiver.set_property("direction", directions.SENDONLY)
                transceiver.set_property("do-nack", True)
        else:
            for caps in (AUDIO, VIDEO[self._wish["codec"]]):
                transceiver = self._peer.emit("add-transceiver", directions.RECVONLY, Gst.Caps.from_string(caps))
                transceiver.set_property("do-nack", caps != AUDIO)
        self._pipeline.set_state(Gst.State.PLAYING)
        self._hear("a wish to negotiate")
        offer = self._ask("create-offer", None, "offer")
        self._ask("set-local-description", offer)
        self._hear("all candidates")
        local = self._peer.get_property("local-description").sdp.as_text()
        if self._fingerprint is not None:
            # webrtcbin takes the digest of a given key too.
            local = re.sub(r"a=fingerprint:.*", f"a=fingerprint:sha-256 {self._fingerprint}\r", local)
        session = Session(self._wish["endpoint"], self._wish["token"], local)
        _, answer = GstSdp.SDPMessage.new_from_text(session.answer)
        kind = GstWebRTC.WebRTCSDPType.ANSWER
        self._ask("set-remote-description", GstWebRTC.WebRTCSessionDescription.new(kind, answer))
        try:
            self._hear("media")
        except RuntimeError:
            session.end()
            raise
        return session

    def state(self):
        return self._peer.get_property("connection-state").value_nick

    def close(self):
        self._pipeline.set_state(Gst.State.NULL)

    def check(self):
        """Raises what went wrong since."""
        while not self._news.empty():
            self._take(self._news.get())

    def _hear(self, wanted):
        """Waits until `wanted` has happened; raises what goes wrong before."""
        while wanted not in self._heard:
            try:
                self._take(self._news.get(timeout=LIVE_S))
            except queue.Empty:
                raise RuntimeError(f"no news of {wanted} within {LIVE_S} s, connection {self.state()}") from None

    def _take(self, news):
        if isinstance(news, Exception):
            raise news
        self._heard.add(news)

    def _ask(self, action, argument, wanted=None):
        """Does `action`; returns the field `wanted` of the reply."""
        promise = Gst.Promise.new()
        self._peer.emit(action, argument, promise)
        promise.wait()
        reply = promise.get_reply()
        # What the binding hands out of a reply lives no longer than both.
        self._replies.append((promise, reply))
        if reply is not None and reply.has_field("error"):
            raise RuntimeError(f"{action}: {reply.to_string()}")
        return None if wanted is None else reply.get_value(wanted)

    def _on_gathering(self, peer, _):
        if peer.get_property("ice-gathering-state") == GstWebRTC.WebRTCICEGatheringState.COMPLETE:
            self._news.put("all candidates")

    def _on_connection(self, _peer, _):
        state = self.state()
        if state == "connected" and self._wish["do"] == "publish":
            self._news.put("media")
        elif state == "failed":
            self._news.put(RuntimeError("the connection failed"))

    def _on_message(self, _bus, message):
        if message.type == Gst.MessageType.ERROR:
            error, detail = message.parse_error()
            self._news.put(RuntimeError(f"{error.message}: {detail}"))
        return Gst.BusSyncReply.PASS

    def _on_pad(self, _peer, pad):
        if pad.direction != Gst.PadDirection.SRC:
            return
        name = pad.get_current_caps().get_structure(0).get_string("encoding-name")
        sink = "appsink name=sink emit-signals=true sync=false"
        caps = SOUND if name == "OPUS" else PICTURE
        branch = Gst.parse_bin_from_description(f"queue ! {DECODERS[name]} ! {caps} ! {sink}", True)
        take = self._on_sound if name == "OPUS" else self._on_picture
        branch.get_by_name("sink").connect("new-sample", take)
        self._pipeline.add(branch)
        branch.sync_state_with_parent()
        pad.link(branch.get_static_pad("sink"))

    def _on_picture(self, sink):
        sample = sink.emit("pull-sample")
        picture = sample.get_caps().get_structure(0)
        size = picture.get_int("width").value * picture.get_int("height").value
        buffer = sample.get_buffer()
        self.tally.picture(buffer.extract_dup(0, size))
        if self.tally.settled and "media" not in self._heard:
            self._news.put("media")
        return Gst.FlowReturn.OK

    def _on_sound(self, sink):
        buffer = sink.emit("pull-sample").get_buffer()
        self.tally.sound(buffer.get_size() // 2, buffer.extract_dup(0, buffer.get_size()))
        return Gst.FlowReturn.OK


def publishing(codec):
    """A ball that sweeps over the picture, and a tone."""
    return (
        "webrtcbin name=peer bundle-policy=max-bundle"
        f" audiotestsrc is-live=true freq=400 volume=0.3 ! {SOUND} ! opusenc ! rtpopuspay pt=97 ! {AUDIO} ! peer."
        " videotestsrc is-live=true pattern=ball motion=sweep"
        f" ! {PICTURE},width=320,height=240,framerate=20/1 ! queue ! {ENCODERS[codec]} ! {VIDEO[codec]} ! peer."
    )


def ecdsa_identity():
    """A key and a self-signed certificate for it, each in PEM."""
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    run = subprocess.run([*command, "-subj", "/CN=webrtc", "-days", "2", "-keyout", "-"], check=True, capture_output=True, text=True)
    at = run.stdout.index("-----BEGIN CERTIFICATE")
    return run.stdout[:at], run.stdout[at:]


def identify(element, identity):
    factory = element.get_factory()
    if factory is not None and factory.get_name() == "dtlssrtpdec":
        element.set_property("pem", identity)


def main():
    Gst.init(None)
    wish = next_order()
    peer = Peer(wish)
    session = None
    try:
        session = peer.join()
        tell(live=True)
        while next_order()["do"] == "read":
            peer.check()
            tell(reading={**peer.tally.reading(), "codec": session.codec(), "state": peer.state()})
    finally:
        status = session.end() if session else None
        peer.close()
    tell(left=status)


try:
    main()
except Exception as error:  # whatever it is, the test has to read it
    tell(error=f"{type(error).__name__}: {error}")
