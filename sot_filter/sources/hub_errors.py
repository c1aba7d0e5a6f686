"""What the clients of the Hub raise while a dataset is read, in this package's words."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from sot_filter.errors import HubError, SotFilterError, SourceError

T = TypeVar("T")


def answered(call: Callable[[], T]) -> T:
    """Ask the Hub about a dataset, again where it was busy; its clients do so by themselves only for files' bytes."""
    from huggingface_hub.utils import httpx  # type: ignore[attr-defined]  # exported, but not to type checkers

    # Here, since that package imports the artifacts, and they import this one.
    from sot_filter.hub.retry import retried

    def again(error: Exception) -> float | None:
        if isinstance(error, httpx.TransportError):
            # Where nothing listens, the user is told at once.
            return None if isinstance(error, httpx.ConnectError | httpx.UnsupportedProtocol) else 0.0
        response = getattr(error, "response", None)
        if response is None or not (response.status_code == 429 or response.status_code >= 500):
            return None
        wait = response.headers.get("Retry-After", "").strip()
        return float(wait) if wait.isdigit() else 0.0

    return retried(call, again)


@contextmanager
def hub_errors(where: str) -> Iterator[None]:
    """Tell what the user can correct from what the Hub did not answer.

    Args:
        where: the dataset, as messages name it.

    Raises:
        SourceError: there is no such dataset or revision, no files of rows in it, or no access to it.
        HubError: the Hub, or the network on the way to it, did not answer.
    """
    from huggingface_hub.utils import httpx  # type: ignore[attr-defined]  # exported, but not to type checkers

    try:
        yield
    except SotFilterError as error:
        # A storage takes any OSError for a broken file, and so also a refusal of the Hub, which is one.
        if not isinstance(error.__context__, httpx.HTTPError):
            raise
        raise _problem(where, error.__context__) from None
    except Exception as error:
        if not isinstance(error, httpx.HTTPError | OSError):
            raise
        raise _problem(where, error) from None


def _problem(where: str, error: Exception) -> SotFilterError:
    from huggingface_hub import errors

    said = str(error).partition("For more information check:")[0]
    got = f"{type(error).__name__}: {' '.join(said.split())[:160].rstrip('. ')}"
    missing = (errors.RepositoryNotFoundError, errors.RevisionNotFoundError, FileNotFoundError)
    if isinstance(error, missing) and not isinstance(error, errors.LocalEntryNotFoundError):
        return SourceError(
            f"rows of {where} on the Hub",
            got,
            "Check id, revision and files; for a private or gated dataset, log in or set HF_TOKEN.",
        )
    refused = isinstance(error, errors.HfHubHTTPError) and error.response.status_code in (401, 403)
    return HubError(
        f"an answer of the Hub for {where}",
        got,
        "Log in again, or set HF_TOKEN anew."
        if refused
        else "Check the network and try again, or set HF_HUB_OFFLINE=1 if it is in the cache here.",
    )
