"""What a watcher saw and heard, counted alike by the Python clients."""

import time
from array import array
from zlib import crc32

# These clients show a picture when it is decoded, without the smoothing of a browser: a person would
# call half a second without a new one a freeze.
FREEZE_S = 0.5

# What comes while a jitter buffer fills says nothing of the node: media flows from here on.
SETTLE_FRAMES = 30

# A sixteenth of full scale: more than comfort noise, less than any tone of the publishers.
LOUD = 2_048


class Tally:
    """Counts since the start; `longestGapMs` is of the time since the last reading."""

    def __init__(self):
        self._seen = {"frames": 0, "moved": 0, "freezes": 0, "samples": 0, "loud": 0}
        self._checksum = None
        self._shown_at = None
        self._longest_gap_s = 0.0

    @property
    def settled(self):
        return self._seen["frames"] >= SETTLE_FRAMES

    def picture(self, luma):
        """Takes a decoded picture's luma plane."""
        now = time.monotonic()
        if self._shown_at is not None:
            gap_s = now - self._shown_at
            self._longest_gap_s = max(self._longest_gap_s, gap_s)
            self._seen["freezes"] += gap_s >= FREEZE_S
        self._shown_at = now
        checksum = crc32(luma)
        self._seen["moved"] += checksum != self._checksum
        self._checksum = checksum
        self._seen["frames"] += 1

    def sound(self, samples, block):
        """Takes `samples` decoded samples a channel, as 16 bit in `block`."""
        self._seen["samples"] += samples
        self._seen["loud"] += max(array("h", block), default=0) >= LOUD

    def reading(self):
        gap_s, self._longest_gap_s = self._longest_gap_s, 0.0
        # A picture that does not come at all is a gap too.
        if self._shown_at is not None:
            gap_s = max(gap_s, time.monotonic() - self._shown_at)
        return {**self._seen, "longestGapMs": round(gap_s * 1_000)}
