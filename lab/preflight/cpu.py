"""CPU features that a guest can come to depend on, out of the words in which Xen shows its host's.

``xl info`` prints ``hw_caps`` as eight hexadecimal words. They are the first eight of a featureset
(xen/include/public/arch-x86/cpufeatureset.h), which has the bits of CPUID as the vendors' manuals number them::

    word  0      1      2             3             4          5        6        7
    leaf  1.edx  1.ecx  80000001.edx  80000001.ecx  0xd.1.eax  7.0.ebx  7.0.ecx  80000007.edx
"""

from __future__ import annotations

import re
from collections.abc import Mapping

__all__ = ["features"]

# Word -> bit -> the name in a guest's /proc/cpuinfo (Linux, arch/x86/include/asm/cpufeatures.h). Only what that header
# of Xen's marks as shown to guests by default: what a guest is never shown it cannot miss. Left out are those that Xen
# makes up itself for every guest (apic, x2apic, hypervisor, ht, tsc_deadline_timer, osxsave).
_NAMES: Mapping[int, Mapping[int, str]] = {
    0: {
        0: "fpu", 1: "vme", 2: "de", 3: "pse", 4: "tsc", 5: "msr", 6: "pae", 8: "cx8", 11: "sep", 13: "pge", 15: "cmov",
        16: "pat", 17: "pse36", 19: "clflush", 23: "mmx", 24: "fxsr", 25: "sse", 26: "sse2",
    },
    1: {
        0: "pni", 1: "pclmulqdq", 9: "ssse3", 12: "fma", 13: "cx16", 17: "pcid", 19: "sse4_1", 20: "sse4_2",
        22: "movbe", 23: "popcnt", 25: "aes", 26: "xsave", 28: "avx", 29: "f16c", 30: "rdrand",
    },
    2: {
        11: "syscall", 20: "nx", 22: "mmxext", 25: "fxsr_opt", 26: "pdpe1gb", 27: "rdtscp", 29: "lm", 30: "3dnowext",
        31: "3dnow",
    },
    3: {
        0: "lahf_lm", 5: "abm", 6: "sse4a", 7: "misalignsse", 8: "3dnowprefetch", 11: "xop", 16: "fma4", 21: "tbm",
        26: "bpext",
    },
    4: {0: "xsaveopt", 1: "xsavec", 2: "xgetbv1", 3: "xsaves"},
    5: {
        0: "fsgsbase", 1: "tsc_adjust", 3: "bmi1", 5: "avx2", 7: "smep", 8: "bmi2", 9: "erms", 10: "invpcid", 11: "rtm",
        16: "avx512f", 17: "avx512dq", 18: "rdseed", 19: "adx", 20: "smap", 21: "avx512ifma", 23: "clflushopt",
        24: "clwb", 28: "avx512cd", 29: "sha_ni", 30: "avx512bw", 31: "avx512vl",
    },
    6: {
        1: "avx512vbmi", 2: "umip", 3: "pku", 6: "avx512_vbmi2", 8: "gfni", 9: "vaes", 10: "vpclmulqdq",
        11: "avx512_vnni", 12: "avx512_bitalg", 14: "avx512_vpopcntdq", 22: "rdpid",
    },
}  # fmt: skip


def features(hw_caps: str) -> frozenset[str] | None:
    """The features in ``hw_caps`` that guests are shown, by Linux's names; None if this is no such line.

    >>> sorted(features("00000001:00000001:20000000:0:0:0:0:0"))
    ['fpu', 'lm', 'pni']
    """
    words = hw_caps.strip().split(":")
    if len(words) <= max(_NAMES) or not all(re.fullmatch(r"[0-9a-fA-F]{1,8}", word) for word in words):
        return None
    return frozenset(
        name for at, names in _NAMES.items() for bit, name in names.items() if int(words[at], 16) >> bit & 1
    )
