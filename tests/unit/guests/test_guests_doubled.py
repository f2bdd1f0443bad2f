"""An interrupt that came twice, told from an oops."""

from __future__ import annotations

import pytest

from lab.guests.doubled import doubled_interrupt

RIP = "[   99.517505] RIP: 0010:asm_sysvec_xen_hvm_callback+0x0/0x20"
EIP = "[   99.517505] EIP: asm_sysvec_xen_hvm_callback+0x0/0x10"
CODE = "[   99.517511] Code: e9 85 04 00 00 <0f> 1f 00 fc"
OFF = "[   99.517516] RSP: 0000:fffffe0000002fd8 EFLAGS: 00000086"
ON = "[   99.517516] RSP: 0000:fffffe0000002fd8 EFLAGS: 00000286"
OTHER = "[   99.517400] RIP: 0010:exc_page_fault+0x15/0x170"


@pytest.mark.parametrize(
    ("console", "twice"),
    [
        ([RIP, CODE, OFF], True),
        ([EIP, OFF], True),
        ([OTHER, CODE, OFF, RIP, CODE, OFF], True),
        ([RIP, CODE, ON], False),
        ([RIP, CODE, ON, OTHER, OFF], False),
        ([RIP.replace("+0x0", "+0x16"), CODE, OFF], False),
        ([OTHER, CODE, OFF], False),
        ([RIP, *["x"] * 4, OFF], False),
        ([RIP], False),
        ([], False),
    ],
)
def test_interrupts_are_off_at_the_first_instruction_of_the_handler(console: list[str], *, twice: bool) -> None:
    assert bool(doubled_interrupt(console)) == twice
