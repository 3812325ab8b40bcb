"""What the Python clients have in common: orders on stdin, answers on stdout, WHIP and WHEP over HTTP.

Each order and each answer is one line of JSON. The first order is `publish` or `watch`, answered by
`{"live": true}` when media flows or by `{"error": "..."}`; `read` is answered by a reading, `leave` by
the status of the DELETE.
"""

import json
import re
import sys
import urllib.error
import urllib.parse
import urllib.request

# A busy machine with a debug build answers well within this.
HTTP_S = 15


def tell(**answer):
    print(json.dumps(answer), flush=True)


def next_order():
    """The next order; `leave` when whoever gave them is gone."""
    line = sys.stdin.readline()
    return json.loads(line) if line else {"do": "leave"}


class Session:
    """A WHIP or WHEP session, from its offer to its end."""

    def __init__(self, endpoint, token, offer):
        response = _send("POST", endpoint, token, offer.encode())
        body = response.read().decode()
        if response.status != 201:
            raise RuntimeError(f"{response.status} {body}")
        self.answer = body
        self._url = urllib.parse.urljoin(endpoint, response.headers["Location"])
        self._token = token

    def codec(self):
        """Name of the first video codec of the answer."""
        first = re.search(r"^m=video \d+ \S+ (\d+)", self.answer, re.MULTILINE)
        return re.search(rf"^a=rtpmap:{first[1]} ([^/]+)/", self.answer, re.MULTILINE)[1]

    def end(self):
        return _send("DELETE", self._url, self._token).status


def _send(method, url, token, body=None):
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/sdp"}
    request = urllib.request.Request(url, data=body, headers=headers, method=method)
    try:
        return urllib.request.urlopen(request, timeout=HTTP_S)
    except urllib.error.HTTPError as error:
        return error
