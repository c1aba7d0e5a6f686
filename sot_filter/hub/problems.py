"""What the clients of the Hub raise while something is published, in this package's words."""

import re
import time
from collections.abc import Callable
from email.utils import parsedate_to_datetime
from typing import Final, TypeVar

from sot_filter.errors import HubError, SotFilterError
from sot_filter.hub.retry import retried
from sot_filter.hub.session import bound_silence

T = TypeVar("T")

#: Statuses that a later attempt may not meet: conflicts, a head that has moved, too many requests.
_PASSING: Final = (408, 409, 412, 425, 429)
_NETWORK: Final = "Check the network and run again: what has arrived is not sent twice."
_STORAGE: Final = re.compile(r"\bstorage\b|\bquota\b(?!.*\brequests\b)", re.IGNORECASE | re.DOTALL)
#: How the clients begin where they tell of a refusal by a plain `ValueError`; any other is a mistake of ours.
_CARD: Final = "Invalid metadata in README.md"
_ANSWERS: Final = ("LFS batch API returned errors", "Malformed", "Expecting value")
#: What a token looks like, should a server ever repeat one.
_TOKEN: Final = re.compile(r"\bhf_\w{16,}")


class HeadMovedError(Exception):
    """Somebody has committed meanwhile: a further attempt starts from what is there now."""


def at_hub(
    what: str, call: Callable[[], T], progress: Callable[[], int] = lambda: 0, attempts: int | None = None
) -> T:
    """Call the Hub, again where that may help.

    Args:
        what: what is wished for, as messages name it.
        call: what to do; it looks first what an earlier attempt has left.
        progress: a number that grows as the calls get somewhere.
        attempts: how many in a row may fail, if not the usual number.

    Raises:
        HubError: the Hub refused, or did not answer.
    """

    def attempt() -> T:
        bound_silence()
        return call()

    try:
        return retried(attempt, asked, progress=progress, attempts=attempts)
    except SotFilterError:
        raise
    except Exception as error:
        problem = in_our_words(what, error)
        if problem is None:
            raise
    # Outside of the handler, so that no request, whose headers have the token, hangs on to what is raised.
    raise problem


def asked(error: Exception) -> float | None:
    """Seconds that the Hub asks to wait before a further attempt, or None where none will help."""
    from huggingface_hub.errors import OfflineModeIsEnabled
    from huggingface_hub.utils import httpx  # type: ignore[attr-defined]  # exported, but not to type checkers

    if isinstance(error, HeadMovedError):
        return 0.0
    cause = _cause(error)
    response = getattr(cause, "response", None)
    if response is None:
        broken = isinstance(cause, httpx.TransportError | ConnectionError | TimeoutError)
        return 0.0 if broken and not isinstance(cause, OfflineModeIsEnabled) else None
    status = response.status_code
    if (status not in _PASSING and status < 500) or _STORAGE.search(_said(cause)):
        return None
    return _wait(response.headers)


def in_our_words(what: str, error: Exception) -> HubError | None:
    """The error to raise for one of the Hub's clients, or None where it is none of theirs."""
    from huggingface_hub import errors
    from huggingface_hub.utils import httpx  # type: ignore[attr-defined]  # exported, but not to type checkers

    if isinstance(error, HeadMovedError):
        return HubError(what, "commits of somebody else, again and again", _remedy(412, error))
    cause = _cause(error)
    if isinstance(cause, errors.OfflineModeIsEnabled):
        return HubError(what, "HF_HUB_OFFLINE is set", "Unset it, or leave out output.hub.")
    response = getattr(cause, "response", None)
    if isinstance(error, ValueError) and str(error).startswith(_CARD):
        return HubError(what, redacted(str(error)), "Correct the YAML at the top of the card, then run again.")
    if response is not None:
        got = f"{response.status_code} {redacted(_said(cause))}"
        return HubError(what, got, _remedy(response.status_code, cause))
    unsaid = isinstance(cause, ValueError) and not str(cause).startswith(_ANSWERS)
    if unsaid or not isinstance(cause, httpx.HTTPError | OSError | RuntimeError | ValueError):
        return None
    network = isinstance(cause, httpx.TransportError | ConnectionError | TimeoutError)
    return HubError(
        what, f"{type(cause).__name__}: {redacted(str(cause))}", _NETWORK if network else _remedy(0, cause)
    )


def redacted(text: str) -> str:
    """A message as one line of no more than 200 characters, without any token in it."""
    from huggingface_hub import get_token

    text = " ".join(text.split())
    if mine := get_token():
        text = text.replace(mine, "hf_...")
    return _TOKEN.sub("hf_...", text)[:200].rstrip(". ")


def _cause(error: BaseException) -> BaseException:
    """The request that failed, where the clients wrap it."""
    from huggingface_hub.utils import httpx  # type: ignore[attr-defined]  # exported, but not to type checkers

    inner: BaseException | None = error
    while inner is not None:
        if isinstance(inner, httpx.HTTPError):
            return inner
        inner = inner.__cause__
    return error


def _said(error: BaseException) -> str:
    return getattr(error, "server_message", None) or str(error)


def _wait(headers: "dict[str, str]") -> float:
    """What `Retry-After` or a used-up rate limit asks for, in seconds."""
    from huggingface_hub.utils import parse_ratelimit_headers  # type: ignore[attr-defined]  # as above

    limit = parse_ratelimit_headers(headers)
    if limit is not None and limit.remaining == 0:
        return float(limit.reset_in_seconds)
    value = headers.get("Retry-After", "").strip()
    if value.isdigit():
        return float(value)
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    except ValueError:
        return 0.0


def _remedy(status: int, error: BaseException) -> str:
    from huggingface_hub import errors

    if _STORAGE.search(_said(error)):
        return "Free storage of that account or enlarge its plan, or publish to another one; then run again."
    if isinstance(error, errors.RepositoryNotFoundError):
        return "Check output.hub.repo, and that the account of HF_TOKEN may see it."
    if status == 401:
        return "Log in again, or set HF_TOKEN anew."
    if status == 403 and "disabled" in _said(error):
        return "Enable pull requests in the dataset's settings, or set output.hub.branch to a new branch."
    if status == 403:
        return "Use a token (HF_TOKEN) that may write there, or set output.hub.create_pr or another output.hub.repo."
    if status == 413:
        return "A file is too large for a commit: split the largest files of the input, then run again."
    if status == 409 or status == 412:
        return "Others keep committing there: run again when they are done, or set output.hub.branch."
    if status == 429 or status >= 500:
        return "Run again later: what has arrived is not sent twice."
    return "Check output.hub, and what the Hub says."
