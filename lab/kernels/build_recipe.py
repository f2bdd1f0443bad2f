"""What a module is compiled from: which of Debian's source packages, which folder in it, which options. Pure."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Built", "Source"]


@dataclass(frozen=True, slots=True)
class Source:
    """Where the source is for the kernel of a Debian ``release``: in ``package``, as linux-source-6.1.

    ``version`` is empty for that of the kernel itself; else it is an older one, and ``note`` says why.
    """

    release: str
    package: str
    version: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True)
class Built:
    """A module that Debian leaves out of its kernels, compiled out of tree from Debian's own source and headers.

    ``directory`` is its folder below the source's root; ``options`` are its Kconfig symbols with ``m`` or ``y``.
    """

    module: str
    directory: str
    options: tuple[tuple[str, str], ...]
    sources: tuple[Source, ...]

    def source(self, release: str) -> Source | None:
        """The source for the kernel of that release; None where it is not built for it."""
        return next((source for source in self.sources if source.release == release), None)

    @property
    def make_variables(self) -> tuple[str, ...]:
        """What ``make`` is told.

        The kernel's own configuration says "not set" of every option, so that they are given twice: for Makefiles as
        variables, for C as Kconfig would have written them into autoconf.h. Without CONFIG_MODULE_SRCVERSION_ALL only
        modules with a MODULE_VERSION get a srcversion, and ntfs3 has none: nothing would tell which one is loaded.

        >>> Built("x", "fs/x", (("CONFIG_X", "m"), ("CONFIG_X_LZX", "y")), ()).make_variables[-1]
        'CFLAGS_MODULE=-DCONFIG_X_MODULE=1 -DCONFIG_X_LZX=1'
        """
        defines = (f"-D{name}{'_MODULE' if value == 'm' else ''}=1" for name, value in self.options)
        return (
            *(f"{name}={value}" for name, value in self.options),
            "CONFIG_MODULE_SRCVERSION_ALL=y",
            f"CFLAGS_MODULE={' '.join(defines)}",
        )
