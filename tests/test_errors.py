"""Errors say what was expected, what came, what to do, and the exit code a script can rely on."""

import builtins
import pickle

import pytest

from sot_filter import errors
from sot_filter.errors import SotFilterError

KINDS = [kind for kind in vars(errors).values() if isinstance(kind, type)]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_an_error_is_three_clauses_and_crosses_processes_whole(kind: type[SotFilterError]) -> None:
    error = pickle.loads(pickle.dumps(kind(expected="tea", got="coffee", do="Ask again.")))
    assert type(error) is kind
    assert (error.expected, error.got, error.do) == ("tea", "coffee", "Ask again.")
    assert str(error) == "expected tea; got coffee. Ask again."
    assert isinstance(error, SotFilterError)


def test_exit_codes_tell_usage_from_failure_from_network() -> None:
    assert {kind.__name__: kind.exit_code for kind in KINDS} == {
        "SotFilterError": 1,
        "SolverError": 1,
        "ConfigError": 2,
        "SourceError": 2,
        "ReferenceError": 2,
        "ModelError": 2,
        "ArtifactError": 2,
        "HubError": 5,
        "ExecutorError": 6,
    }


def test_no_error_is_caught_as_one_of_pythons_own() -> None:
    own = [kind for kind in vars(builtins).values() if isinstance(kind, type) and issubclass(kind, Exception)]
    assert not any(issubclass(kind, other) for kind in KINDS for other in own if other is not Exception)
