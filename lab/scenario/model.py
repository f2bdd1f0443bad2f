"""The schema of a scenario file: its keys, their defaults, what they mean. It and the schema of hosts files are all
that imports pydantic.

Strict and closed: no coercion (``4.10`` is not ``"4.10"``), no unknown key. Where a scalar is expected a list makes an
axis, so every field that may vary is held as a tuple.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from lab.scenario.cell import MAX_ITERATIONS

__all__ = [
    "Complaint",
    "Condition",
    "Expect",
    "Guest",
    "GuestScenario",
    "GuestShape",
    "Host",
    "Kernel",
    "LimitsShape",
    "Migrate",
    "Model",
    "Modules",
    "NtfsScenario",
    "Scenario",
    "fault",
    "keys_at",
    "shaped",
    "validate",
]

T = TypeVar("T")
M = TypeVar("M", bound="Model")

_BOOT_FLAVOUR = {"amd64": ("cloud", "generic"), "i386": ("686-pae",)}
"""Debian's kernel flavours that boot as Xen guests; the first is the default."""

_OFF = ("cold", "cold-shared")
"""The ways in which a guest is off while it moves."""


def fault(said: str, at: tuple[str | int, ...] = ()) -> PydanticCustomError:
    """A fault in plain words; ``at`` leads from the validated value to the part that is wrong."""
    return PydanticCustomError("fault", "{said}", {"said": said, "at": at})


def _several(value: object) -> object:
    match value:
        case list():
            return tuple(value)
        case tuple():
            return value
        case _:
            return (value,)


def _distinct(values: tuple[T, ...]) -> tuple[T, ...]:
    for index, value in enumerate(values):
        if value in values[:index]:
            named = repr(value) if isinstance(value, str) else "the same"
            raise fault(f"{named} stands twice", (index,))
    return values


def shaped(pattern: str, what: str) -> Callable[[str], str]:
    """A validator of texts: all of one must fit ``pattern``, or it is not ``what``."""
    shape = re.compile(pattern, re.ASCII)

    def check(text: str) -> str:
        if not shape.fullmatch(text):
            raise fault(f"{text!r} is not {what}")
        return text

    return check


def _one_line(text: str) -> str:
    words = " ".join(text.split())
    if not words:
        raise fault("must not be empty")
    if not words.isprintable():
        raise fault("holds control characters, which no report can show")
    return words


def _measure(value: object, units: Mapping[str, float], example: str) -> float:
    """The number of base units that ``value`` says, such as 0.5 for ``500ms``."""
    text = str(value)
    found = re.fullmatch(rf"([0-9]{{1,6}}(?:\.[0-9]{{1,3}})?) ?({'|'.join(units)})", text)
    if found and isinstance(value, str) and float(found[1]) > 0:
        return float(found[1]) * units[found[2]]
    if re.fullmatch(r"[0-9.]+", text) and not isinstance(value, bool):
        raise fault(f"{text} has no unit; write {example}")
    raise fault(f"{value!r} is not an amount with one of the units {', '.join(units)}; write {example}")


def _counted(value: object) -> object:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MAX_ITERATIONS:
        # How a number was written (0x10) only the tree knows; the message begins with that.
        raise PydanticCustomError("no_count", f"is not a whole number from 1 to {MAX_ITERATIONS}")
    return value


def _seconds(value: object) -> object:
    return _measure(value, _TIMES, "5s")


def _mebibytes(value: object) -> object:
    amount = _measure(value, _SIZES, "256M or 1G")
    if not amount.is_integer():
        raise fault(f"{value!r} is not a whole number of MiB")
    return int(amount)


_TIMES = {"ms": 0.001, "s": 1.0, "m": 60.0}
_SIZES = {"M": 1.0, "G": 1024.0}

Several = Annotated[tuple[T, ...], BeforeValidator(_several), AfterValidator(_distinct)]
Axis = Annotated[tuple[T, ...], BeforeValidator(_several), Field(min_length=1), AfterValidator(_distinct)]
Text = Annotated[str, AfterValidator(_one_line)]
Name = Annotated[str, AfterValidator(shaped(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}", "a name of letters, digits, . _ -"))]
Names = Annotated[
    str,
    AfterValidator(
        shaped(r"[A-Za-z0-9*?][A-Za-z0-9*?._-]{0,62}", "a name of letters, digits, . _ - (or a pattern with * and ?)")
    ),
]
"""A name, or a pattern that stands for all known names that it fits."""
Suite = Annotated[str, AfterValidator(shaped(r"[a-z][a-z0-9-]*", "a Debian suite, such as bookworm"))]
Xen = Annotated[str, AfterValidator(shaped(r"[0-9]{1,2}\.[0-9]{1,2}", 'a Xen version, such as "4.17"'))]
Module = Annotated[str, AfterValidator(shaped(r"[A-Za-z0-9][A-Za-z0-9_-]*", "a kernel module, such as dm-mod"))]
Memory = Annotated[int, BeforeValidator(_mebibytes)]
Duration = Annotated[float, BeforeValidator(_seconds)]
Count = Annotated[int, BeforeValidator(_counted)]
Arch = Literal["amd64", "i386"]
Flavour = Literal["cloud", "generic", "686-pae"]
Type = Literal["pv", "pvh", "hvm"]
System = Literal["debian", "probe"]
How = Literal["cold", "cold-shared", "save-restore", "live"]
Trip = Literal["there", "there-and-back"]
Delivery = Literal["push", "image"]
Stage = Literal["xen", "microvm"]
Condition = Annotated[dict[str, Axis[str]], Field(min_length=1)]


class Model(BaseModel):
    """Strict, frozen, closed."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")


class Host(Model):
    """A Xen host by what it must be, or by its name in the user's own list."""

    xen: Axis[Xen] | None = Field(None, description='Xen version, its first two numbers in quotes: "4.17".')
    inventory: Axis[Name] | None = Field(None, description="A host of the user's list instead of an embedded one.")
    dom0: Axis[Arch] = Field(("amd64",), description="Architecture of the host's own kernel and tools.")

    @model_validator(mode="after")
    def _named(self) -> Host:
        if not self.xen and not self.inventory:
            raise fault('needs xen, such as {xen: "4.17"}')
        if self.inventory and len(self.xen or ()) > 1:
            raise fault("a host of the inventory has one Xen version", ("xen",))
        if self.inventory and len(self.dom0) > 1:
            raise fault("a host of the inventory has one dom0", ("dom0",))
        return self


class Kernel(Model):
    """A guest's kernel by its Debian package."""

    release: Axis[Suite] | None = Field(None, description="Debian suite of the kernel; the guest's when left out.")
    arch: Axis[Arch] = Field(
        ("amd64",), description="Architecture of the kernel, which may differ from the userland's."
    )
    flavour: Axis[Flavour] | None = Field(None, description="cloud (amd64) or 686-pae (i386) when left out.")

    @model_validator(mode="after")
    def _exists(self) -> Kernel:
        for arch in self.arch:
            for index, flavour in enumerate(self.flavour or ()):
                if flavour not in _BOOT_FLAVOUR[arch]:
                    raise fault(
                        f"there is no {flavour} kernel for {arch}; it has {' and '.join(_BOOT_FLAVOUR[arch])}",
                        ("flavour", index),
                    )
        return self

    def flavours(self, arch: str) -> tuple[str, ...]:
        """The flavours asked for on ``arch``."""
        return self.flavour or _BOOT_FLAVOUR[arch][:1]


class GuestShape(Model):
    """What every guest has, whatever is done with it; the defaults are those of an NTFS scenario."""

    release: Axis[Suite] = Field(("trixie",), description="Debian suite of the userland.")
    userland: Axis[Arch] = Field(("amd64",), description="Architecture of the userland.")
    type: Axis[Type] = Field(("pv",), description="Kind of Xen domain.")
    memory: Axis[Memory] = Field((256,), description="Memory with its unit: 256M, 1G.")
    system: Axis[System] = Field(("probe",), description="debian (systemd, realistic) or probe (own init, fast).")


class Guest(GuestShape):
    """A guest under ``guests:``."""

    release: Axis[Suite] = Field(description="Debian suite of the userland.")
    system: Axis[System] = Field(("debian",), description="debian (systemd, realistic) or probe (own init, fast).")
    kernel: Axis[Kernel] = Field((Kernel(),), description="Kernel; amd64, cloud, of the guest's suite when left out.")


class Arrive(Model):
    """What a guest that is off becomes while it moves; its userland and disk stay."""

    kernel: Axis[Kernel] | None = Field(None, description="Kernel on the target; the one it had when left out.")
    type: Axis[Type] | None = Field(None, description="Kind of Xen domain on the target; as before when left out.")

    @model_validator(mode="after")
    def _something(self) -> Arrive:
        if not self.kernel and not self.type:
            raise fault("names neither kernel nor type; write type: pvh")
        return self


class Migrate(Model):
    """How a guest moves."""

    how: Axis[How] = Field(
        description="cold (its disk is copied while it is off), cold-shared (both hosts have its disk),"
        " save-restore or live."
    )
    arrive: Arrive | None = Field(
        None, description="What it becomes on the way; only with cold and cold-shared. It returns as it was."
    )
    trip: Axis[Trip] = Field(("there",), description="there (to the target) or there-and-back (to the source again).")
    iterations: Count = Field(
        1,
        description="How often it goes to the target, returning in between: 1 to 1000; 30 make a distribution.",
    )

    @model_validator(mode="after")
    def _off_when_it_changes(self) -> Migrate:
        for index, how in enumerate(self.how if self.arrive else ()):
            if how not in _OFF:
                raise fault(
                    f"{how!r} moves a running guest, which keeps its kernel and type; arrive goes with"
                    f" {' and '.join(_OFF)} only",
                    ("how", index),
                )
        return self


class Modules(Model):
    """Kernel modules to load. Both lists belong to one cell; they are no axes."""

    load: Several[Module] = Field((), description="Loaded once the guest runs.")
    load_after: Several[Module] = Field((), description="Loaded once the guest has moved.")
    delivery: Axis[Delivery] = Field(("push",), description="push (through the shell) or image (already on the disk).")

    @model_validator(mode="after")
    def _some(self) -> Modules:
        if not self.load and not self.load_after:
            raise fault("names no module; write load: [loop]")
        return self


class LimitsShape(Model):
    """Upper bounds, with units ms, s or m."""

    network_gap: Duration = Field(5.0, description="Longest silence on the network while a guest moves.")
    guest_pause: Duration = Field(5.0, description="Longest pause the guest itself may see while it moves.")
    cell: Duration = Field(600.0, description="Time for one whole cell, all iterations together.")
    fsync: Duration = Field(5.0, description="Longest that one write may take to reach the disk after the arrival.")
    clock: Duration = Field(1.0, description="By how much the guest's wall clock may stray while it moves.")


class Expect(Model):
    """What will come of some cells, other than a pass, and why that is right."""

    when: Condition = Field(description="Axis -> value or values; the cells that have all of them.")
    outcome: Literal["pass", "fail", "unsupported"] = Field(description="The outcome.")
    finding: Literal["correct", "read-only", "refused", "degraded", "wrong-data", "damaged", "crash", "hang"] | None = (
        Field(None, description="NTFS only: what the driver did.")
    )
    because: Text = Field(description="The reason, shown in reports.")


class Scenario(Model):
    """What every scenario has."""

    scenario: Text = Field(description="What it is about, in a few words.")
    why: Text | None = Field(None, description="Why it is worth the time; shown in reports.")
    limits: LimitsShape = Field(LimitsShape(), description="Upper bounds.")
    exclude: Annotated[tuple[Condition, ...], BeforeValidator(_several)] = Field(
        (), description="Combinations to leave out, as axis -> value or values."
    )
    expect: Annotated[tuple[Expect, ...], BeforeValidator(_several)] = Field(
        (), description="Cells that will not pass."
    )
    pairwise: bool = Field(default=False, description="Cover all pairs of values instead of all combinations.")


class GuestScenario(Scenario):
    """Guests are booted, their modules loaded, and with ``migrate`` they are moved."""

    hosts: dict[Name, Host] = Field(min_length=1, description="Role -> host; source and target for migrations.")
    guests: dict[Name, Guest] = Field(min_length=1, description="Name -> guest; several make the axis guest.")
    migrate: Migrate | None = Field(None, description="Move each guest from source to target.")
    modules: Modules | None = Field(None, description="Kernel modules to load.")

    @model_validator(mode="after")
    def _after_what(self) -> GuestScenario:
        if self.modules and self.modules.load_after and not self.migrate:
            raise fault("nothing moves here, so there is no after; use load", ("modules", "load_after"))
        return self


class NtfsScenario(Scenario):
    """Volumes are mounted with drivers in guests of several kernels."""

    hosts: dict[Name, Host] = Field({}, max_length=1, description="Role -> host; one role.")
    kernels: Axis[Kernel] = Field(description="Kernels of the guests.")
    drivers: Axis[Names] = Field(description='NTFS drivers, such as ntfs3, ntfs, ntfs-3g, or "*".')
    volumes: Axis[Names] = Field(description='Sample volumes, such as clean, dirty, "names-*".')
    operations: Axis[Names] = Field(("read",), description='What is done to a mounted volume, such as read, or "*".')
    written_by: Axis[Names] | None = Field(
        None,
        description="Drivers that do the operations first, each on a kernel that has it; what they have written is then"
        " read with drivers.",
    )
    stage: Axis[Stage] = Field(("xen",), description="xen (a Xen guest) or microvm (a bare QEMU guest).")
    guest: GuestShape = Field(GuestShape(), description="The guest; its release decides the version of ntfs-3g.")

    @model_validator(mode="after")
    def _staged(self) -> NtfsScenario:
        if "xen" in self.stage and not self.hosts:
            raise fault('needs hosts, such as {lab: {xen: "4.20"}}, unless stage is microvm')
        if self.written_by and "read" in self.operations:
            raise fault(
                "to read is not to write; name what is written, as in operations: [everything]", ("written_by",)
            )
        return self


@dataclass(frozen=True, slots=True)
class Complaint:
    """One thing that pydantic has against a value: its error type, the way to it, its input, and words or bounds."""

    kind: str
    loc: tuple[str | int, ...]
    value: object
    words: str
    expected: str = ""


def validate(model: type[M], tree: Any) -> tuple[M | None, tuple[Complaint, ...]]:  # noqa: ANN401 - unchecked input is the point
    """The model of ``tree``, or everything that is wrong with it."""
    try:
        return model.model_validate(tree), ()
    except ValidationError as invalid:
        return None, tuple(_complaint(error) for error in invalid.errors(include_url=False))


def _complaint(error: Any) -> Complaint:  # noqa: ANN401 - pydantic's ErrorDetails has an untyped ctx
    context = error.get("ctx", {})
    loc = (*error["loc"], *context.get("at", ()))
    return Complaint(
        error["type"], loc, error["input"], context.get("said", error["msg"]), str(context.get("expected", ""))
    )


def keys_at(model: type[Model], loc: tuple[str | int, ...]) -> tuple[str, ...]:
    """The keys that the map at ``loc`` may have."""
    here, skip = model, False
    for step in loc:
        if skip or isinstance(step, int):
            skip = False
            continue
        field = here.model_fields.get(step)
        inner = _models(field.annotation) if field else []
        if field is None or not inner:
            return ()
        here, skip = inner[0], get_origin(field.annotation) is dict
    return tuple(here.model_fields)


def _models(annotation: object) -> list[type[Model]]:
    if isinstance(annotation, type) and issubclass(annotation, Model):
        return [annotation]
    return [model for part in get_args(annotation) for model in _models(part)]
