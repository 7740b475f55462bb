"""XML without entity expansion, external references or document types."""

from __future__ import annotations

from pathlib import Path
from xml.etree.ElementTree import Element, ParseError

from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import fromstring

from label_config.values.errors import CalibrationError

__all__ = ["Element", "parse"]


def parse(file: Path, text: str) -> Element:
    """XML text → root element.  Raises BadInputError, also for anything that could be an XML bomb."""
    try:
        root: Element = fromstring(text, forbid_dtd=True)
    except DefusedXmlException:
        raise CalibrationError(f"{file}: expected plain XML, got a document type or entities; remove them") from None
    except (ParseError, ValueError, RecursionError, LookupError) as error:
        raise CalibrationError(f"{file}: expected XML, got something else: {str(error)[:200]}") from None
    return root
