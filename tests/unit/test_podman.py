"""What podman needs on which host, without a podman."""

import json
import tomllib
from pathlib import Path

import pytest

from onebaton.adapters import podman
from onebaton.adapters.podman import HostLimits, Podman, PodmanHost
from onebaton.errors import UnavailableError

LIMITS = """\
Limit                     Soft Limit           Hard Limit           Units
Max processes             {nproc}                {nproc}                processes
Max open files            1024                 {nofile}                files
"""
ALL = "CapEff:\t000001ffffffffff\n"
NO_SYS_RESOURCE = "CapEff:\t000001fffeffffff\n"
ROOT = PodmanHost("4.3.1", rootless=False, can_limit_memory=True, runtime="crun")


def capped(status: str, *, nofile="1048576", nproc="unlimited", nr_open=1048576, pid_max=4194304):
    return podman.capped_limits(
        LIMITS.format(nofile=nofile, nproc=nproc), status, nr_open=nr_open, pid_max=pid_max
    )


def test_a_plain_debian_root_is_not_capped():
    assert capped(ALL, nofile="524288", nproc="63413") == ()


def test_without_the_capability_the_hard_limits_cap():
    assert dict(capped(NO_SYS_RESOURCE, nofile="20000", nproc="96365")) == {
        "nofile": 20000,
        "nproc": 96365,
    }


def test_without_the_capability_high_limits_do_not_cap():
    assert capped(NO_SYS_RESOURCE) == ()


def test_no_more_processes_than_the_kernel_numbers():
    assert dict(capped(NO_SYS_RESOURCE, pid_max=32768)) == {"nproc": 32768}


def test_nobody_opens_more_files_than_the_kernel_allows():
    assert dict(capped(ALL, nr_open=65536)) == {"nofile": 65536}


def test_nothing_is_needed_on_a_plain_host():
    assert podman.needed_settings(HostLimits((), hybrid_cgroups=False), ROOT) == {}


def test_capped_limits_are_written_as_they_are_allowed():
    limits = HostLimits((("nofile", 20000),), hybrid_cgroups=False)
    assert podman.needed_settings(limits, ROOT) == {
        "containers": {"default_ulimits": ["nofile=20000:20000"]}
    }


def test_hybrid_cgroups_need_runc_unless_it_is_in_use():
    limits = HostLimits((), hybrid_cgroups=True)
    assert podman.needed_settings(limits, ROOT) == {"engine": {"runtime": "runc"}}
    with_runc = PodmanHost("4.3.1", rootless=False, can_limit_memory=True, runtime="runc")
    assert podman.needed_settings(limits, with_runc) == {}


def test_reads_the_cgroup_layout(tmp_path: Path):
    assert not podman.read_limits(tmp_path, tmp_path).hybrid_cgroups
    (tmp_path / "unified").mkdir()
    (tmp_path / "unified" / "cgroup.controllers").touch()
    assert podman.read_limits(tmp_path, tmp_path).hybrid_cgroups


def test_settings_are_laid_over_the_systems_own():
    tree = {"containers": {"dns_servers": ["10.0.0.1"], "pids_limit": 5}, "engine": {"a": {"b": 1}}}
    podman.merge(
        tree, {"containers": {"pids_limit": 6, "tz": 'x"y'}, "engine": {"runtime": "runc"}}
    )
    assert tomllib.loads(podman.to_toml(tree)) == {
        "containers": {"dns_servers": ["10.0.0.1"], "pids_limit": 6, "tz": 'x"y'},
        "engine": {"a": {"b": 1}, "runtime": "runc"},
    }


def test_reads_podmans_own_words():
    said = {
        "host": {
            "security": {"rootless": False},
            "cgroupControllers": ["cpu", "memory"],
            "ociRuntime": {"name": "crun"},
        },
        "version": {"Version": "4.3.1"},
    }
    assert podman.parse_info(json.dumps(said)) == ROOT
    said["host"]["cgroupControllers"] = None
    assert not podman.parse_info(json.dumps(said)).can_limit_memory


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"host": {}}'])
def test_words_that_are_not_understood_are_an_error(text: str):
    with pytest.raises(UnavailableError):
        podman.parse_info(text)


def test_missing_podman_names_its_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UnavailableError) as caught:
        Podman(tmp_path).run(["ps"], timeout_s=1)
    assert "Debian package podman" in (caught.value.resolution or "")
