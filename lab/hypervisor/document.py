"""The only module that imports lxml: build, read and check libvirt's XML documents."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import TypeAlias

from lxml import etree

from lab.errors import LabError, MissingToolError
from lab.hypervisor.binding import XML_DETAIL, Said
from lab.hypervisor.errors import DomainXmlError

__all__ = ["DOMAIN_SCHEMA", "Element", "element", "parse", "render", "text_of", "validate"]

Element: TypeAlias = etree._Element  # noqa: SLF001 - lxml's public functions return it and it has no public name

DOMAIN_SCHEMA = Path("/usr/share/libvirt/schemas/domain.rng")
"""Installed by libvirt0 in Debian 12, by libvirt-common in Debian 13."""


def element(
    tag: str,
    *children: Element | str | None,
    attributes: Mapping[str, str] | None = None,
    namespaces: Mapping[str, str] | None = None,
) -> Element:
    """An element with ``children`` in order; a string is its text, ``None`` is left out."""
    made = etree.Element(tag, dict(attributes or {}), nsmap=dict(namespaces or {}))
    for child in children:
        if isinstance(child, str):
            made.text = child
        elif child is not None:
            made.append(child)
    return made


def render(root: Element) -> str:
    """The document as indented text, without an XML declaration."""
    return str(etree.tostring(root, pretty_print=True, encoding="unicode"))


def parse(xml: str, what: str = "domain XML") -> Element:
    """The root of a document; entities and other files are never followed.

    Raises:
        DomainXmlError: not well-formed; the message has line and column.
    """
    # libxml2 refuses text that also declares an encoding, so it gets bytes.
    parser = etree.XMLParser(resolve_entities=False, no_network=True, remove_comments=True, remove_pis=True)
    try:
        return etree.fromstring(xml.encode("utf-8", "replace"), parser)
    except etree.XMLSyntaxError as broken:
        said = Said(XML_DETAIL, 0, f"line {broken.lineno}: {broken.msg}")
        raise DomainXmlError(what, said) from broken


def text_of(node: Element, path: str, default: str = "") -> str:
    """The text at ``path`` below ``node``, stripped, or ``default`` when there is none."""
    return (node.findtext(path) or "").strip() or default


def validate(xml: str, *, schema: Path = DOMAIN_SCHEMA) -> None:
    """Hold a document against libvirt's own RELAX-NG; nothing is asked of a daemon.

    Raises:
        DomainXmlError: it does not satisfy it; the message has each line and what libxml2 says of it.
        MissingToolError: the schema is not installed.
    """
    rules = _load(schema)
    if not rules.validate(parse(xml)):
        said = dict.fromkeys(f"line {entry.line}: {entry.message}" for entry in rules.error_log)
        raise DomainXmlError("domain XML", Said(0, 0, "; ".join(said)))


@functools.cache
def _load(schema: Path) -> etree.RelaxNG:
    if not schema.is_file():
        raise MissingToolError(
            f"{schema}: libvirt's RELAX-NG schemas are not installed",
            hint="apt-get install libvirt0 (Debian 12) or libvirt-common (Debian 13)",
        )
    try:
        return etree.RelaxNG(etree.parse(schema))
    except (etree.RelaxNGParseError, etree.XMLSyntaxError) as broken:
        raise LabError(f"{schema}: not a RELAX-NG schema: {broken}") from broken
