"""Sessions with Xen hosts of the user's own: the option, the variable, and names that no hosts file has."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.unit.plugin.project import Project

OWN = "scenarios/own.lab.yaml"
SCENARIO = """\
scenario: own
hosts: {lab: {inventory: old-rack-1}}
guests: {web: {release: bookworm}}
"""


@pytest.fixture
def own(project: Project, monkeypatch: pytest.MonkeyPatch) -> Project:
    monkeypatch.delenv("LAB_HOSTS", raising=False)
    project.write(OWN, SCENARIO)
    project.write("hosts.yaml", "hosts: {old-rack-1: {ssh: root@10.0.0.11}}\n")
    return project


def test_a_listed_host_is_taken_and_what_runs_it_goes_into_the_record(own: Project) -> None:
    result = own.pytester.runpytest(OWN, "--lab-hosts", "hosts.yaml")
    result.assert_outcomes(passed=1)
    assert own.matrix().run.accelerator == "hardware"


def test_one_emulated_host_makes_it_functional_evidence(own: Project) -> None:
    own.write("hosts.yaml", "hosts: {old-rack-1: {ssh: root@10.0.0.11, accelerator: tcg}}\n")
    own.pytester.runpytest(OWN, "--lab-hosts", "hosts.yaml")
    assert own.matrix().run.accelerator == "tcg"


def test_the_file_may_be_named_by_the_environment(own: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAB_HOSTS", str(own.path / "hosts.yaml"))
    own.pytester.runpytest(OWN).assert_outcomes(passed=1)


def test_without_a_file_nothing_is_run(own: Project) -> None:
    result = own.pytester.runpytest(OWN)
    assert result.ret == pytest.ExitCode.INTERRUPTED
    words = "'old-rack-1' is a host of your own, and no hosts file is named: --hosts FILE, or LAB_HOSTS"
    result.stdout.fnmatch_lines([f"*{OWN}:2:26: {words}"])
    assert not (own.path / "reports").exists()


def test_a_name_that_is_not_listed_is_told_with_its_place(own: Project) -> None:
    own.write(OWN, SCENARIO.replace("old-rack-1", "old-rack-2"))
    result = own.pytester.runpytest(OWN, "--lab-hosts", "hosts.yaml")
    result.stdout.fnmatch_lines([f"*{OWN}:2:26: the hosts file has no host 'old-rack-2'; did you mean 'old-rack-1'?"])


def test_mistakes_of_the_hosts_file_have_their_places(own: Project) -> None:
    own.write("hosts.yaml", "hosts: {old-rack-1: {shs: root@10.0.0.11}}\n")
    result = own.pytester.runpytest(OWN, "--lab-hosts", "hosts.yaml")
    result.stdout.fnmatch_lines(["*hosts.yaml:1:22: hosts.old-rack-1: unknown key 'shs'; did you mean 'ssh'?"])
    assert result.ret == pytest.ExitCode.INTERRUPTED


def test_the_command_takes_the_file_and_tells_its_mistakes_before_all(
    own: Project, lab: Callable[..., pytest.RunResult]
) -> None:
    done = lab("run", "--hosts", "hosts.yaml", OWN)
    assert done.ret == 0
    assert own.matrix().run.accelerator == "hardware"
    missing = lab("run", "--hosts", "none.yaml", OWN)
    assert missing.ret == 2
    assert missing.errlines[-1] == "none.yaml:1:1: cannot be read: No such file or directory"
    assert lab("run", OWN).ret == 2
