"""A judge behind an endpoint with the OpenAI-style chat protocol: one request a pair, one JSON object back.

Nothing is asked unless a user names the URL and the model. Time and waiting are passed in.
"""

from __future__ import annotations

import http.client
import json
import re
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any
from urllib.parse import quote, urlsplit

from annotated_types import Ge, Gt, Le

from relevance.errors import ScorerError, in_words, quoted
from relevance.files import text_trouble
from relevance.ranges import Seconds, check_ranges

PATH = "/chat/completions"
INSTRUCTIONS = """\
You judge whether an ad fits a query of a product search. Give one of these grades:
3: the ad offers exactly what the query asks for.
2: the ad offers what the query asks for, but an attribute (size, colour, model) differs or is not said.
1: the ad offers something related, such as an accessory or another product for the same purpose.
0: the ad has nothing to do with the query.
Answer with one JSON object and nothing else: {"grade": 0, 1, 2 or 3, "confidence": from 0 to 1}."""
MOST_ANSWER = 2**20
"""Bytes of an answer that are read."""
MOST_REASON, MOST_BROKEN = 200, 1000
"""Characters of a refusal that are told, and beginnings of broken objects that are looked at."""
OBJECT = re.compile(r'\{\s*["}]')
"""Where a JSON object begins."""
LONGEST_WAIT_S = 60.0
PASSING = (408, 409, 425, 429, 500, 502, 503, 504)
"""Statuses of HTTP after which the same request may succeed."""


@dataclass(frozen=True, slots=True)
class ChatJudge:
    """Where to ask, and how long.

    Attributes:
        url: of the protocol's root, such as `http://127.0.0.1:8000/v1`, or of `/chat/completions` itself.
        model: its name there.
        key: is sent as a bearer token; empty: none is sent. It is in no message.
        timeout_s: of one request.
        attempts: requests a pair, at most.
        wait_s: before the second request of a pair; it doubles with each further one.
        sleep: waits for seconds.
    """

    url: str
    model: str
    key: str = ""
    timeout_s: Annotated[float, Gt(0), Le(1e5)] = 60.0
    attempts: Annotated[int, Ge(1), Le(1000)] = 5
    wait_s: Seconds = 1.0
    sleep: Callable[[float], None] = time.sleep

    def __post_init__(self) -> None:
        for name in ("url", "model", "key"):
            if not isinstance(getattr(self, name), str):
                raise ScorerError("must be a text", field=name, value=quoted(str(getattr(self, name))))
        if not self.model.strip() or (trouble := text_trouble(self.model)):
            raise ScorerError(
                trouble if self.model.strip() else "is empty",
                field="--model",
                remedy="name the endpoint's model",
            )
        try:
            check_ranges(self)
        except ValueError as error:
            raise ScorerError(str(error)) from None
        try:
            parts = urlsplit(self.url)
            known = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
            (parts.hostname or "").encode("idna")
        except ValueError:  # brackets without an end, a port beyond 65,535, no name of a host
            known = False
        if not known or re.search(r"[\s\x00-\x1f\x7f]", self.url):
            raise ScorerError(
                "must be an address with http or https", field="--endpoint", value=quoted(self.url)
            )
        if "@" in parts.netloc:
            raise ScorerError(
                "the address holds a user's name",
                field="--endpoint",
                remedy="give the key by --key-env alone",
            )
        if not f"{parts.path}{parts.query}".isascii():
            remedy = "write other letters as a browser copies them, such as %C3%BC"
            reason = "may hold ASCII letters alone after the host's name"
            raise ScorerError(reason, field="--endpoint", value=quoted(self.url), remedy=remedy)
        if not (self.key.isascii() and self.key.isprintable()):
            raise ScorerError(
                "the key holds what no header of HTTP may, such as a new line", field="--key-env"
            )

    def grade(self, query: str, ad: str) -> tuple[int, float]:
        """Grade 0..3 of a pair, and the confidence in [0, 1] that the model states.

        Raises:
            ScorerError: no attempt brought an answer of the wanted form; says what the last one brought.
        """
        fault = ""
        for attempt in range(self.attempts):
            if attempt:
                self.sleep(min(self.wait_s * 2.0 ** (attempt - 1), LONGEST_WAIT_S))
            try:
                return read_answer(self._without_key(self._ask(query, ad)))
            except urllib.error.HTTPError as error:
                fault = f"HTTP status {error.code}{self._reason(error)}"
                if 300 <= error.code < 400:
                    there = quoted(self._without_key(error.headers.get("Location", "another address")))
                    fault += f", redirected to {there}: name it with --endpoint, if you trust it"
                if error.code not in PASSING:
                    break
            except _WrongAnswerError as error:
                fault = str(error)
            except http.client.HTTPException:
                fault = "an answer that is no HTTP, or breaks off"
            except (OSError, ValueError) as error:  # time-outs are OSError; an odd redirection a ValueError
                reason = getattr(error, "reason", None) or error
                if isinstance(reason, TimeoutError):
                    fault = "timed out"
                elif isinstance(reason, ssl.SSLError):
                    why = getattr(reason, "verify_message", "") or "is it http?"
                    fault = f"no secure connection can be made: {why}"
                else:
                    fault = in_words(reason) if isinstance(reason, Exception) else str(reason)
        raise ScorerError(
            f"no usable answer for query {quoted(query)} and ad {quoted(ad)} "
            f"in {attempt + 1} attempt{'s' * (attempt > 0)} ({self._without_key(fault)})",
            file=self.url,
            remedy="mend the endpoint; the same command continues after the pairs that it has judged",
        )

    def _reason(self, error: urllib.error.HTTPError) -> str:
        """What an endpoint says of a request that it refuses, such as that it has no such model."""
        try:
            said = json.loads(_read(error.fp, time.monotonic() + self.timeout_s))["error"]
            said = said["message"] if isinstance(said, dict) else said
        except (OSError, http.client.HTTPException, ValueError, LookupError, TypeError, RecursionError):
            return ""
        said = said if isinstance(said, str) else json.dumps(said)
        return f": {quoted(self._without_key(said), MOST_REASON)}"

    def _without_key(self, text: str) -> str:
        """What an endpoint has said, which may repeat the key; before it is cut, since a part is too much."""
        if self.key:
            for shown in (self.key, json.dumps(self.key)[1:-1], quote(self.key, safe="")):
                text = text.replace(shown, "...")
        return text

    def _ask(self, query: str, ad: str) -> str:
        """The text that the model answers."""
        messages = [
            {"role": "system", "content": INSTRUCTIONS},
            {"role": "user", "content": f"Query: {query}\nAd: {ad}"},
        ]
        body = json.dumps({"model": self.model, "messages": messages, "temperature": 0}).encode()
        headers = {"Content-Type": "application/json"}
        if self.key:
            headers["Authorization"] = f"Bearer {self.key}"
        request = urllib.request.Request(address_of(self.url), body, headers, method="POST")
        with _OPENER.open(request, timeout=self.timeout_s) as answer:
            raw = _read(answer, time.monotonic() + self.timeout_s)
        try:
            content = json.loads(raw)["choices"][0]["message"]["content"]
        except (ValueError, LookupError, TypeError, RecursionError):
            said = self._without_key(raw.decode("utf-8", errors="replace"))
            raise _WrongAnswerError(f"not of the chat protocol: {quoted(said[:200])}") from None
        if isinstance(content, list):  # of parts, of which those of text count
            texts = (part.get("text") for part in content if isinstance(part, dict))
            content = "".join(text for text in texts if isinstance(text, str))
        return content if isinstance(content, str) else json.dumps(content)


def address_of(url: str) -> str:
    """Where requests go; what follows a '?', such as a version, stays behind the path."""
    parts = urlsplit(url)
    path = parts.path.rstrip("/").removesuffix(PATH) + PATH
    return parts._replace(path=path, fragment="").geturl()


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirection is an error: the key must not go to another address than the one that was named."""

    def redirect_request(self, *_: Any) -> None:
        return None


_OPENER = urllib.request.build_opener(_NoRedirect)


class _WrongAnswerError(ValueError):
    """An answer has another form."""


def read_answer(text: str) -> tuple[int, float]:
    """Grade and confidence in a model's text, which may have words around the JSON object.

    Raises:
        ValueError: there is no such object, or a value is out of range.
    """
    for answer in reversed(_objects(text)):  # the last one counts: a model may think aloud before it
        if "grade" not in answer:
            continue
        grade, confidence = answer["grade"], answer.get("confidence")
        if isinstance(grade, bool) or grade not in (0, 1, 2, 3):
            raise _WrongAnswerError(f"the grade must be 0, 1, 2 or 3, is {json.dumps(grade)}")
        if (
            isinstance(confidence, bool)
            or not isinstance(confidence, int | float)
            or not 0 <= confidence <= 1
        ):
            raise _WrongAnswerError(
                f"the confidence must be a number from 0 to 1, is {json.dumps(confidence)}"
            )
        return int(grade), float(confidence)
    raise _WrongAnswerError(f"no JSON object with a grade: {quoted(text[:200])}")


def _objects(text: str) -> list[dict[str, Any]]:
    """The JSON objects in a text, without those inside others."""
    found, broken, begins = list[dict[str, Any]](), 0, OBJECT.search(text)
    while begins and broken < MOST_BROKEN:  # some models end in the same sign again and again
        try:
            one, end = json.JSONDecoder().raw_decode(text, begins.start())
            found.append(one)
        except RecursionError:
            break
        except ValueError:
            broken, end = broken + 1, begins.start() + 1
        begins = OBJECT.search(text, end)
    return found


def _read(answer: Any, until: float) -> bytes:
    """The body of an answer; one that comes byte by byte has no more time than another.

    Raises:
        TimeoutError: it has not come by then.
    """
    parts, left = list[bytes](), MOST_ANSWER
    while left > 0 and (part := answer.read1(left)):
        parts.append(part)
        left -= len(part)
        if time.monotonic() > until:
            raise TimeoutError("timed out")
    return b"".join(parts)
