"""What the Hub's clients raise, in our words."""

from collections.abc import Iterator
from email.utils import formatdate
from time import time

import pytest
from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled
from huggingface_hub.utils import hf_raise_for_status, httpx

from sot_filter.errors import HubError, SourceError
from sot_filter.hub.problems import HeadMovedError, asked, at_hub, in_our_words, redacted

TOKEN = "hf_SECRETsecretSECRETsecret"


@pytest.fixture(autouse=True)
def token(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Somebody is logged in."""
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    return


def refusal(status: int, message: str = "", **headers: str) -> HfHubHTTPError:
    """What the client makes of an answer."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    request = httpx.Request("POST", "https://hub/api/datasets/org/x/commit/main", headers={"authorization": TOKEN})
    answer = httpx.Response(status, headers=named, json={"error": message}, request=request)
    with pytest.raises(HfHubHTTPError) as raised:
        hf_raise_for_status(answer)
    return raised.value


@pytest.mark.parametrize(
    ("error", "seconds"),
    [
        (refusal(409), 0.0),
        (refusal(412), 0.0),
        (refusal(429), 0.0),
        (refusal(429, Retry_After="7"), 7.0),
        (refusal(429, Retry_After="soon"), 0.0),
        (refusal(429, RateLimit='"api";r=0;t=55'), 55.0),
        (refusal(429, RateLimit='"api";r=9;t=55'), 0.0),
        (refusal(429, "You hit the quota of 1000 api requests per 5 minutes"), 0.0),
        (refusal(500), 0.0),
        (refusal(503, Retry_After="120"), 120.0),
        (httpx.ReadTimeout("slow"), 0.0),
        (httpx.RemoteProtocolError("cut"), 0.0),
        (ConnectionResetError(), 0.0),
        (HeadMovedError(), 0.0),
        (refusal(400), None),
        (refusal(401), None),
        (refusal(403), None),
        (refusal(404), None),
        (refusal(413), None),
        (refusal(429, "Private repository storage limit reached"), None),
        (OfflineModeIsEnabled("off"), None),
        (ValueError("ours"), None),
        (SourceError("a", "b", "c"), None),
    ],
    ids=lambda value: f"{value}"[:40] if isinstance(value, Exception) else "",
)
def test_what_is_tried_again_and_when(error: Exception, seconds: float | None) -> None:
    assert asked(error) == seconds


def test_a_date_to_wait_for() -> None:
    waited = asked(refusal(429, Retry_After=formatdate(time() + 60, usegmt=True)))
    assert waited is not None
    assert 55 < waited <= 60
    assert asked(refusal(429, Retry_After=formatdate(time() - 60, usegmt=True))) == 0.0


def test_a_request_that_the_client_wraps() -> None:
    def upload() -> None:
        try:
            raise refusal(503)
        except HfHubHTTPError as error:
            raise RuntimeError("Error while uploading 'a.parquet' to the Hub.") from error

    with pytest.raises(RuntimeError) as raised:
        upload()
    assert asked(raised.value) == 0.0
    assert "503" in in_our_words("a", raised.value).got


@pytest.mark.parametrize(
    ("status", "message", "said"),
    [
        (401, "Invalid credentials", "HF_TOKEN"),
        (403, "You don't have the rights", "HF_TOKEN"),
        (403, "Private repository storage limit reached, please upgrade your plan", "storage"),
        (403, "Your storage patterns tripped our internal systems!", "storage"),
        (413, "Payload too large", "too large for a commit"),
        (412, "A commit has happened since", "output.hub.branch"),
        (429, "Too many requests", "later"),
        (503, "", "later"),
    ],
)
def test_refusals(status: int, message: str, said: str) -> None:
    problem = in_our_words("the wish", refusal(status, message))
    assert problem is not None
    assert (said in problem.do, str(status) in problem.got, problem.expected) == (True, True, "the wish")


def test_no_token_is_repeated() -> None:
    other = "hf_otherOTHERotherOTHER"
    for text in (f"Bearer {TOKEN}", f"bad {other}\nvery bad"):
        assert redacted(text) in ("Bearer hf_...", "bad hf_... very bad") or redacted(text).endswith("hf_")
    error = refusal(400, f"{TOKEN} and {other} are no good")

    def fail() -> None:
        raise error

    with pytest.raises(HubError) as raised:
        at_hub("the wish", fail)
    assert TOKEN not in str(raised.value)
    assert other not in str(raised.value)
    assert raised.value.__cause__ is raised.value.__context__ is None


def test_a_mistake_of_ours_stays_one() -> None:
    def fail() -> None:
        raise ValueError("of ours")

    with pytest.raises(ValueError, match="of ours"):
        at_hub("the wish", fail)
