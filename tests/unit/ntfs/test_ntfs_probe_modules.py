"""The probe brings the right module in, and what is of its name but is not it out."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from lab.ntfs import probe

BUILT = {"module": "ntfs3", "srcversion": "AAAA", "source": "linux-source-6.12 6.12.117-1"}


@dataclass
class Kernel:
    """What is loaded, by name, with its srcversion; and the programs that change it."""

    loaded: dict[str, str | None] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    failing: str = ""

    def call(self, *words: str) -> str:
        self.asked.append(" ".join(words))
        if words[0] == self.failing:
            return "it does not want to"
        name = Path(words[1]).stem
        if words[0] == "rmmod":
            del self.loaded[name]
        else:
            self.loaded[name] = "AAAA"
        return ""

    def facts(self, name: str, _built: object = None) -> dict[str, Any]:
        version = self.loaded.get(name)
        return {"name": name, "loaded": name in self.loaded, **({"srcversion": version} if version else {})}


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Kernel:
    found = Kernel()
    monkeypatch.setattr(probe, "call", found.call)
    monkeypatch.setattr(probe, "module_facts", found.facts)
    return found


@pytest.fixture
def file(tmp_path: Path) -> str:
    (tmp_path / "ntfs3.ko.json").write_text(json.dumps(BUILT))
    return str(tmp_path / "ntfs3.ko")


def exchange(files: Sequence[str]) -> None:
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        probe.exchange(["ntfs3"], list(files), probe.Report(nowhere))
    finally:
        os.close(nowhere)


def test_the_kernels_own_module_goes_before_the_compiled_one_comes(kernel: Kernel, file: str) -> None:
    kernel.loaded["ntfs3"] = None
    exchange([file])
    assert kernel.asked == ["rmmod ntfs3", f"insmod {file}"]
    assert kernel.loaded == {"ntfs3": "AAAA"}


def test_another_compiled_one_goes_too(kernel: Kernel, file: str) -> None:
    kernel.loaded["ntfs3"] = "BBBB"
    exchange([file])
    assert kernel.asked == ["rmmod ntfs3", f"insmod {file}"]


def test_the_one_that_is_there_already_stays(kernel: Kernel, file: str) -> None:
    kernel.loaded["ntfs3"] = "AAAA"
    exchange([file])
    assert kernel.asked == []


def test_a_module_that_was_not_compiled_for_this_kernel_is_a_driver_that_is_not_there(
    kernel: Kernel, tmp_path: Path
) -> None:
    kernel.loaded["ntfs3"] = None
    with pytest.raises(probe.Refusal) as refused:
        exchange([str(tmp_path / "none.ko")])
    assert refused.value.facts == {
        "operation": "insmod",
        "cause": "no-driver",
        "errno": None,
        "text": f"{tmp_path}/none.ko is not there",
    }
    assert kernel.asked == []


@pytest.mark.parametrize(
    ("failing", "words"), [("rmmod", "rmmod ntfs3: it does not want to"), ("insmod", "insmod {}: it does not want to")]
)
def test_a_module_that_will_not_come_or_go_is_the_labs_trouble(
    kernel: Kernel, file: str, failing: str, words: str
) -> None:
    kernel.loaded["ntfs3"] = None
    kernel.failing = failing
    with pytest.raises(RuntimeError) as caught:
        exchange([file])
    assert str(caught.value) == words.format(file)


def test_a_driver_of_the_kernels_own_changes_nothing(kernel: Kernel) -> None:
    nowhere = os.open(os.devnull, os.O_WRONLY)
    probe.exchange([], [], probe.Report(nowhere))
    os.close(nowhere)
    assert kernel.asked == []


def test_what_a_compiled_module_was_made_of_lies_beside_it(file: str) -> None:
    assert probe.built_facts([file]) == BUILT
    assert probe.built_facts([]) == {}
    assert probe.module_facts("nosuchmodule", BUILT) == {"name": "nosuchmodule", "loaded": False, "built": BUILT}
