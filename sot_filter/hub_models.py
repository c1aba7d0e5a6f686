"""What the Hub's client raises about a model, in this package's words."""

from collections.abc import Iterator
from contextlib import contextmanager

from sot_filter.errors import HubError, ModelError


@contextmanager
def model_errors(name: str) -> Iterator[None]:
    """Tell what the user can correct from what the Hub did not answer.

    Args:
        name: the model, as messages name it.

    Raises:
        ModelError: there is no such model or revision, or no access to it.
        HubError: the Hub did not answer, or is switched off and the model is not in the cache.
    """
    from huggingface_hub import errors
    from huggingface_hub.utils import httpx  # type: ignore[attr-defined]  # exported, but not to type checkers

    try:
        yield
    except errors.GatedRepoError:
        raise ModelError(
            f"access to {name}", "a gated model", "Accept its terms on its Hub page, then log in or set HF_TOKEN."
        ) from None
    except errors.RevisionNotFoundError:
        raise ModelError(f"a revision of {name}", "none of this name", "Correct `revision`.") from None
    except errors.RepositoryNotFoundError:
        raise ModelError(
            f"a folder or a Hub model named {name}",
            "neither, or a private model",
            "Correct the name; for a private model log in or set HF_TOKEN.",
        ) from None
    except errors.HFValidationError as error:
        raise ModelError("a Hub id as org/model", str(error), "Correct the model's name.") from None
    except (errors.LocalEntryNotFoundError, errors.RevisionResolutionError, errors.OfflineModeIsEnabled):
        raise HubError(
            f"{name} in the local cache, or the Hub",
            "neither: the Hub is out of reach or switched off",
            "Go online (unset HF_HUB_OFFLINE), or name a local folder.",
        ) from None
    except (httpx.HTTPError, OSError) as error:
        raise HubError(f"an answer about {name}", " ".join(str(error).split())[:200], "Try again later.") from None
