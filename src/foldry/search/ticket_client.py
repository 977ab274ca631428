"""ColabFold's ticket protocol, from the side that asks.

Sequences are posted and answered by a ticket, whose state is asked for until the search is
complete; then its results are downloaded as a tar archive. The name of the ticket is kept, so that
the next run asks for the same search instead of another one.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from re import compile as pattern
from typing import Final, NoReturn

from foldry.errors import FoldryError, InputError, OutsideError, counted
from foldry.formats.a3m import FIRST_NAME
from foldry.search.client import (
    HEADER,
    LOGIN,
    BrokenError,
    Client,
    Patience,
    Reply,
    UnreachedError,
)
from foldry.store.archives import unpack
from foldry.store.cache import Cache
from foldry.store.files import MAX_RATIO, MAX_UNPACKED, make_folder, scratch_folder
from foldry.store.hashes import content_key

logger = logging.getLogger(__name__)

ASK: Final = "try again later, or ask its operator"
KEPT_DAYS: Final = 30
"""Days after which a server is asked again: it does not say when its databases change."""
_AGAIN: Final = "run the same command again later: it asks for the same search"
_CHECK: Final = "check the address; if it is right, run the same command again later"
_NO_TLS: Final = ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE")
"""Parts of what OpenSSL says of an answer that is not encrypted."""
_MAX_ARCHIVE: Final = 2**30
_MAX_RESULT: Final = 4 * 2**30
"""Limits on the size of an archive and of what it holds, bytes."""
_FEW: Final = 3
"""Attempts with a server that has never answered, or with an archive that arrives damaged."""
_TICKET: Final = pattern(r"[A-Za-z0-9_=-]{1,200}")
_STATE: Final = pattern("[A-Z]{1,20}")
_PREFIX: Final = "/api"


class _DamagedError(BrokenError):
    """An archive arrived, and is damaged."""


@dataclass(frozen=True)
class _Answer:
    """The state of a ticket.

    Attributes:
        status: The protocol's word; "" if there was no answer that could be used.
        ticket: The name of the ticket, "" if none was given.
        said: What the server says, for messages.
        after: Seconds that it asks to wait.
        is_refused: Whether the request was refused.
        is_reached: Whether a connection was made.
    """

    status: str
    ticket: str = ""
    said: str = ""
    after: float = 0.0
    is_refused: bool = False
    is_reached: bool = True

    @property
    def failure(self) -> str:
        """What became of the request, as the predicate of a sentence."""
        return f"{'could not be asked' if self.is_reached else 'cannot be reached'} ({self.said})"


class TicketClient:
    """Asks one server for searches and files, and keeps what it sent.

    Once the server cannot be reached, or asks to be left alone, everything fails at once.

    Args:
        url: The address; `/api` at its end may be left out, or given although it is not needed.
        cache: Where tickets and files are kept.
        patience: How long and how often the server is asked.
        announce: Called with a sentence before anything is sent.

    Raises:
        InputError: The address or the credentials are not usable.
    """

    def __init__(
        self, url: str, cache: Cache, patience: Patience, announce: Callable[[str], None]
    ) -> None:
        self._client = Client(url, patience)
        self.url = self._client.url.removesuffix(_PREFIX)
        self.period = int(time.time() / 86400 / KEPT_DAYS)
        self._cache, self._patience, self._announce = cache, patience, announce
        self._failure: FoldryError | None = None
        self._is_known = False
        self._announced: set[str] = set()
        self._unkept: dict[str, bytes] = {}

    def check(self) -> None:
        """Raise the error for which the server was given up, if it was; nothing is sent."""
        if self._failure is not None:
            raise self._failure

    def kept(self, *names: str) -> bytes | None:
        """Return what was kept under some names, or None."""
        key = content_key([self.url, self.period, names])
        known = self._unkept.get(key)
        return self._cache.get(key) if known is None else known

    def keep(self, *names: str, data: bytes, for_others: bool = True) -> None:
        """Keep something under some names.

        It is kept in memory if it is not for other processes, or if the folder cannot be written.
        """
        key = content_key([self.url, self.period, names])
        try:
            if for_others:
                self._cache.put(key, data)
                return
        except InputError as error:
            logger.debug("%s", error)
        self._unkept[key] = data

    def say(self, what: str, items: Sequence[str]) -> None:
        """Announce what is sent, unless all of it was announced before.

        Args:
            what: The beginning of a sentence, with a verb.
            items: What is sent.
        """
        if not self._announced.issuperset(items):
            self._announced.update(items)
            named = " and ".join(f"${name}" for name in self._client.credentials)
            secrets = f" with the credentials in {named}" if named else ""
            who = "its operator can read and keep what is sent"
            if not self._client.is_private:
                who += ", and so can others on the way, as it is not encrypted"
            self._announce(f"{what} sent to {self.url}{secrets}; {who}.")

    def complete(self, path: str, sequences: Sequence[str], mode: str) -> str:
        """Return the name of a ticket when its search is complete.

        Args:
            path: The path to which the sequences are posted.
            sequences: The sequences, which are called 101, 102 …
            mode: The protocol's words for what is searched.

        Raises:
            OutsideError: The server failed, or the search was too slow.
        """
        self.check()
        size = counted(sum(map(len, sequences)), "residue")
        verb = "is" if len(sequences) == 1 else "are"
        self.say(f"{counted(len(sequences), 'sequence')} of {size} {verb}", sequences)
        text = "".join(f">{n}\n{each}\n" for n, each in enumerate(sequences, start=FIRST_NAME))
        form, names = {"q": text, "mode": mode}, ("ticket", path, mode, text)
        ticket = (self.kept(*names) or b"").decode(errors="replace")
        ticket = ticket if _TICKET.fullmatch(ticket) else ""
        is_old = bool(ticket)
        end = time.monotonic() + self._patience.max_wait
        failures = polls = 0
        last = ""
        while True:
            answer = self._asked(f"ticket/{ticket}") if ticket else self._asked(path, form)
            state = f"answers {answer.status}" if answer.status else answer.failure
            if state != last and answer.status != "COMPLETE":
                logger.info("%s %s.", self.url, state)
                last = state
            if answer.is_refused or (is_old and answer.status == "ERROR"):
                answer = replace(answer, status="UNKNOWN")  # the server has forgotten it
            if answer.status in ("COMPLETE", "RUNNING", "PENDING"):
                failures, polls = 0, polls + 1
                if not ticket:
                    ticket = answer.ticket
                    self.keep(*names, data=ticket.encode())
                if answer.status == "COMPLETE":
                    return ticket
            elif answer.status in ("UNKNOWN", "RATELIMIT", ""):
                failures, polls = failures + 1, 0
                if answer.status == "UNKNOWN":
                    ticket = ""
                    if is_old:
                        is_old, failures = False, 0
                        continue
            else:
                self._fail(answer)
            if failures >= (self._patience.attempts if self._is_known else _FEW):
                self._give_up(answer.failure, self._advice(answer))
            self._sleep(failures or polls, answer.after, end - time.monotonic())

    @contextmanager
    def downloaded(self, path: str, *, insist: bool = True) -> Iterator[Path]:
        """Return a folder with the files of an archive that the server sends.

        Args:
            path: The path of the archive.
            insist: Whether a damaged archive, or a refusal, is asked for again.

        Raises:
            OutsideError: The server failed, or the archive cannot be used.
        """
        self.check()
        end = time.monotonic() + self._patience.max_wait
        with scratch_folder() as scratch:
            archive, folder = scratch / "archive", scratch / "files"
            make_folder(folder)
            failures = 0
            while True:
                try:
                    self._download(path, archive, folder, insist=insist)
                    break
                except BrokenError as error:
                    logger.info("A download from %s failed: %s.", self.url, error)
                    failures += 1
                    is_damaged = isinstance(error, _DamagedError)
                    if is_damaged and failures >= (_FEW if insist else 1):
                        raise OutsideError(str(error), ASK, where=self.url) from error
                    if failures >= self._patience.attempts:
                        self._give_up(f"could not send a file ({error})", _AGAIN)
                    self._sleep(failures, error.after, end - time.monotonic())
            yield folder

    def _download(self, path: str, archive: Path, folder: Path, *, insist: bool) -> None:
        """Download an archive once, and unpack it.

        Raises:
            BrokenError: Another attempt may succeed.
            OutsideError: The server refuses, or the archive is not what it should be.
        """
        reply = self._client.download(path, archive, _MAX_ARCHIVE)
        said = f"the server answers {self._client.said(reply)}"
        if reply.is_broken:
            raise BrokenError(said, reply.after)
        if reply.code == 400 and insist:  # it may not be ready
            raise _DamagedError(f"sends no archive ({said})")
        if reply.code != 200 or reply.body:
            raise OutsideError(f"sends no archive ({said})", ASK, where=self.url)
        most = min(max(MAX_UNPACKED, MAX_RATIO * archive.stat().st_size), _MAX_RESULT)
        try:
            unpack(archive, folder, "", most, lambda done, total: None)
        except OutsideError as error:
            raise _DamagedError(f"sent an archive that {error.what}") from None
        except InputError as error:
            raise OutsideError(f"sent an archive that {error.what}", ASK, where=self.url) from None

    def _asked(self, path: str, form: dict[str, str] | None = None) -> _Answer:
        """Return the state of a ticket, or what became of a request.

        Raises:
            OutsideError: The address is not that of such a server, or it refuses the sequences or
                the credentials.
        """
        try:
            reply = self._client.ask(path, form)
            if form is not None and reply.is_elsewhere and not self._is_known:
                reply = self._elsewhere(path, form, reply)
        except BrokenError as error:
            is_reached = not isinstance(error, UnreachedError)
            return _Answer("", said=str(error), after=error.after, is_reached=is_reached)
        said = f"the server answers {self._client.said(reply)}"
        if reply.code in (401, 403):
            advice = f"set ${LOGIN} to USER:PASSWORD or ${HEADER} to a header such as X-API-Key: K"
            self._give_up(f"needs other credentials ({reply.code})", advice)
        known: object = None
        with suppress(ValueError, RecursionError):
            known = json.loads(reply.body)
        status = known.get("status") if isinstance(known, dict) else None
        if isinstance(known, dict) and isinstance(status, str) and _STATE.fullmatch(status):
            self._is_known = True
            ticket = known.get("id")
            ticket = ticket if isinstance(ticket, str) and _TICKET.fullmatch(ticket) else ""
            if status in ("COMPLETE", "RUNNING", "PENDING") and form is not None and not ticket:
                raise OutsideError("gives a ticket without a usable name", ASK, where=self.url)
            return _Answer(status, ticket, said, reply.after)
        if reply.code == 429:
            self._is_known = True
            return _Answer("RATELIMIT", said=said, after=reply.after)
        if reply.is_broken or reply.code == 200:
            return _Answer("", said=said, after=reply.after)
        if form is None:
            return _Answer("", said=said, is_refused=True)
        raise OutsideError(f"refuses the sequences ({said})", ASK, where=self.url)

    def _elsewhere(self, path: str, form: dict[str, str], first: Reply) -> Reply:
        """Return the answer of the same server with `/api`, or without it.

        Raises:
            BrokenError: The connection failed.
            OutsideError: It does not speak the protocol there either.
        """
        given = self._client.url
        is_below = given.endswith(_PREFIX)
        self._client.url = given.removesuffix(_PREFIX) if is_below else given + _PREFIX
        reply: Reply | None = None
        try:
            reply = self._client.ask(path, form)
        finally:
            if reply is None or reply.is_elsewhere:
                self._client.url = given
        if reply.is_elsewhere:
            what = f"does not answer as ColabFold's server ({self._client.said(first)})"
            self._give_up(what, "check the address")
        return reply

    def _fail(self, answer: _Answer) -> NoReturn:
        """Raise the error for a state in which no result will come."""
        if answer.status == "MAINTENANCE":
            self._give_up("is under maintenance", _AGAIN)
        if answer.status == "ERROR":
            what, advice = f"could not search ({answer.said})", "check that the sequences are "
            raise OutsideError(what, advice + f"proteins, and {ASK}", where=self.url)
        what = f"answers with the state {answer.status}, which is unknown"
        raise OutsideError(what, ASK, where=self.url)

    def _advice(self, answer: _Answer) -> str:
        """Return what to do after failures in a row."""
        if not answer.is_reached and any(each in answer.said for each in _NO_TLS):
            return "check the address, as the server seems to expect http:// in place of https://"
        return _AGAIN if self._is_known else _CHECK

    def _give_up(self, what: str, advice: str) -> NoReturn:
        """Raise an error, and raise it again in every further search."""
        self._failure = OutsideError(what, advice, where=self.url)
        raise self._failure

    def _sleep(self, number: int, after: float, left: float) -> None:
        """Pause before a request is repeated.

        Raises:
            OutsideError: The pause would be longer than the time that is left.
        """
        pause = self._patience.before(number)
        if max(pause, after) > left:
            what = f"did not finish a search within {self._patience.max_wait:,.0f} seconds"
            what = f"asks to wait for {after:,.0f} seconds" if after > pause else what
            self._give_up(what, _AGAIN)
        time.sleep(max(pause, after))
