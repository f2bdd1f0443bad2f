"""Which accelerator is chosen: KVM only where something has booted under it."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from lab.cache import Cache
from lab.deadline import Deadline
from lab.debian.initrd import USERLAND
from lab.errors import UsageError
from lab.hosts.embedded import accelerator as module
from lab.hosts.embedded.accelerator import Accelerator, choose_accelerator
from lab.hosts.embedded.qemu import PROGRAM
from tests.unit.programs import Programs

Choose = Callable[..., Accelerator]

BOOTS = f'echo "[ 0.4] Linux"; echo "{USERLAND}"'
SPINS = "exec sleep 60"


@pytest.fixture
def choose(tmp_path: Path) -> Choose:
    """Choose with a device that is there."""
    device = tmp_path / "kvm"
    device.touch()

    def ask(wanted: str = "auto", *, device: Path = device) -> Accelerator:
        kernel, initrd = Path("/k/vmlinuz"), Path("/k/initrd")
        cache = Cache(tmp_path / "cache")
        return choose_accelerator(cache, wanted, kernel=kernel, initrd=initrd, device=device, deadline=Deadline(20))

    return ask


def qemu(programs: Programs, script: str) -> None:
    """A QEMU that does that, and counts how often it was called."""
    programs.add(PROGRAM, f'echo "$*" >> "$HERE/called"\n{script}\n')


def test_without_the_device_it_is_tcg_and_nothing_is_tried(choose: Choose, programs: Programs, tmp_path: Path) -> None:
    qemu(programs, BOOTS)
    nowhere = tmp_path / "none"
    assert choose(device=nowhere) == Accelerator("tcg", f"{nowhere} is absent or not ours to use")
    assert programs.note("called") == []


def test_a_kernel_that_boots_makes_it_kvm(choose: Choose, programs: Programs) -> None:
    qemu(programs, BOOTS)
    assert choose() == Accelerator("kvm", "a kernel booted under it")
    [called] = programs.note("called")
    assert "-machine q35,accel=kvm -cpu host" in called
    assert "-kernel /k/vmlinuz -initrd /k/initrd -append console=ttyS0 quiet lab.probe" in called
    assert "-no-reboot" in called


def test_a_kvm_that_only_half_works_is_found_out_in_time_and_remembered(
    choose: Choose, programs: Programs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PROBE_SECONDS", 0.4)
    qemu(programs, SPINS)
    start = time.monotonic()
    found = choose()
    assert time.monotonic() - start < 5
    assert found == Accelerator("tcg", "/dev/kvm is there, but no kernel booted under it within 0.4 s")
    qemu(programs, BOOTS)
    assert choose() == found
    assert len(programs.note("called")) == 1


@pytest.mark.parametrize(
    ("script", "said"),
    [
        (
            "echo 'failed to initialize kvm: Permission denied' >&2; exit 1",
            "failed to initialize kvm: Permission denied",
        ),
        ("echo 'a BIOS speaks'; exit 0", "nothing"),
    ],
)
def test_a_qemu_that_ends_without_the_word_makes_it_tcg(
    choose: Choose, programs: Programs, script: str, said: str
) -> None:
    qemu(programs, script)
    why = f"/dev/kvm is there, but no kernel came up under it; QEMU said: {said}"
    assert choose() == Accelerator("tcg", why)


def test_a_good_answer_is_remembered_too_and_not_after_a_reboot(
    choose: Choose, programs: Programs, tmp_path: Path
) -> None:
    qemu(programs, BOOTS)
    assert choose() == choose()
    assert len(programs.note("called")) == 1
    [answer] = (tmp_path / "cache/accelerator").iterdir()
    # Another boot has another boot_id, and so another file.
    answer.rename(answer.with_name("another-boot.json"))
    choose()
    assert len(programs.note("called")) == 2


@pytest.mark.parametrize("wanted", ["tcg", "kvm"])
def test_who_asks_for_one_gets_it_untried(choose: Choose, programs: Programs, wanted: str) -> None:
    qemu(programs, SPINS)
    assert choose(wanted) == Accelerator(wanted, "asked for")
    assert programs.note("called") == []


def test_anything_else_is_a_mistake_of_the_user(choose: Choose) -> None:
    message = "LAB_ACCELERATOR: 'hvf' is not one of auto, kvm, tcg"
    with pytest.raises(UsageError, match=f"^{re.escape(message)}$"):
        choose("hvf")


def test_the_probe_itself_gets_five_seconds() -> None:
    assert module.PROBE_SECONDS == 5.0
