"""The Ray executor as far as no cluster is needed."""

import builtins
import socket
import time
from typing import Any

import pytest

from sot_filter.config import Ray, RayTask
from sot_filter.errors import ConfigError, ExecutorError
from sot_filter.executors.ray import _cluster


def test_a_stage_asks_for_what_it_names_and_else_for_what_all_do() -> None:
    config = Ray(kind="ray", tasks=16, cpus=2, stages={"embed": RayTask(gpus=1, tasks=4)})
    assert config.of("embed") == RayTask(tasks=4, cpus=2, gpus=1)
    assert config.of("weigh") == RayTask(tasks=16, cpus=2)
    assert (config.tasks_of("embed"), config.tasks_of("weigh"), Ray(kind="ray").tasks_of("weigh")) == (4, 16, 8)


def test_without_the_package_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without_ray(name: str, *rest: Any) -> Any:
        if name == "ray":
            raise ImportError("No module named 'ray'")
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without_ray)
    with pytest.raises(ConfigError, match=r"sot-filter\[ray\]"), _cluster(Ray(kind="ray")):
        pass


def test_an_address_nobody_answers_at_is_told_soon() -> None:
    pytest.importorskip("ray", reason="needs the extra ray")
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    started = time.monotonic()
    with (
        pytest.raises(ExecutorError, match=rf"127\.0\.0\.1:{port}; got no answer \(connection refused\)"),
        _cluster(Ray(kind="ray", address=f"127.0.0.1:{port}")),
    ):
        pass
    assert time.monotonic() - started < 10


def test_an_address_is_a_host_and_a_port() -> None:
    pytest.importorskip("ray", reason="needs the extra ray")
    with pytest.raises(ConfigError, match="host:port"), _cluster(Ray(kind="ray", address="head-node")):
        pass
