"""The scalar types of the contract: bounded strings, decimals, durations and quantities.

Numbers that decide something travel as strings and are parsed as decimals, so that what was reviewed in git is
what is compared.
"""

import re
from decimal import Decimal
from typing import Annotated

from pydantic import Field, StringConstraints

from plumbline_api.constraints import Checked
from plumbline_api.names import API_VERSION

__all__ = [
    "ApiVersion",
    "Confidence",
    "DecimalText",
    "Digest",
    "Duration",
    "FilePath",
    "Name",
    "NamespaceName",
    "Quantity",
    "Rate",
    "Text",
    "parse_duration",
    "parse_quantity",
]

ApiVersion = Annotated[str, StringConstraints(pattern=f"^{re.escape(API_VERSION)}$")]
"""The group and version of our kinds."""

Name = Annotated[
    str,
    StringConstraints(pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", min_length=1, max_length=40),
]
"""A DNS label of at most 40 characters, so that names of children (with suffixes) stay within 63."""

NamespaceName = Annotated[
    str,
    StringConstraints(pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", min_length=1, max_length=63),
]
"""A DNS label: no child is named after a namespace, so all its 63 characters may be used."""

Digest = Annotated[str, StringConstraints(pattern=r"^sha256:[0-9a-f]{64}$", max_length=71)]
"""`sha256:` and 64 hexadecimal digits."""

DecimalText = Annotated[
    str,
    StringConstraints(pattern=r"^[0-9]{1,9}(\.[0-9]{1,12})?(e-[0-9]{1,2})?$", max_length=24),
]
"""A number of at least zero, written as a string: "0.1", "5e-7", "3"."""

Rate = Annotated[str, StringConstraints(pattern=r"^(0(\.[0-9]{1,9})?|1(\.0{1,9})?)$", max_length=12)]
"""A share between "0" and "1"."""

Confidence = Annotated[
    str,
    StringConstraints(pattern=r"^0\.[0-9]{1,4}$", max_length=6),
    Checked(
        "is below 0.5, the least one-sided confidence that says anything",
        "double(self) >= 0.5",
        lambda text: float(text) >= 0.5,
    ),
]
"""A one-sided confidence below 1: "0.95"."""

Duration = Annotated[
    str,
    StringConstraints(pattern=r"^([0-9]{1,6}h)?([0-9]{1,6}m)?([0-9]{1,8}s)?$", min_length=2, max_length=24),
    Checked(
        "is no time at all; write at least 1s, or leave the field out",
        "self.matches('[1-9]')",
        lambda text: parse_duration(text) > 0,
    ),
]
"""Hours, minutes and seconds in this order, as in "1h30m"."""

Quantity = Annotated[
    str,
    StringConstraints(pattern=r"^[0-9]{1,9}(\.[0-9]{1,3})?(m|k|M|G|T|Ki|Mi|Gi|Ti)?$", max_length=16),
]
"""A Kubernetes resource quantity: "500m", "2", "4Gi"."""

FilePath = Annotated[str, StringConstraints(min_length=1, max_length=1024, pattern=r"^[^\x00]+$")]
"""A path on the machine; a relative one starts at the folder of the manifest that names it."""

Text = Annotated[str, Field(min_length=1, max_length=4096)]
"""Free text for people or models."""

_SUFFIXES = {
    "m": Decimal("0.001"), "": Decimal(1),
    "k": Decimal(1000), "M": Decimal(1000**2), "G": Decimal(1000**3), "T": Decimal(1000**4),
    "Ki": Decimal(1024), "Mi": Decimal(1024**2), "Gi": Decimal(1024**3), "Ti": Decimal(1024**4),
}  # fmt: skip


def parse_duration(text: str) -> int:
    """Seconds in a Duration such as "1h30m"; raises ValueError."""
    match = re.fullmatch(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?", text)
    if not text or match is None:
        raise ValueError(f"{text!r} is not a duration; write it like 1h30m or 90s")
    hours, minutes, seconds = (int(part or 0) for part in match.groups())
    return hours * 3600 + minutes * 60 + seconds


def parse_quantity(text: str) -> Decimal:
    """The number a Kubernetes quantity stands for: "500m" is 0.5, "1Ki" is 1024; raises ValueError."""
    match = re.fullmatch(r"([0-9.]+)([A-Za-z]*)", text)
    if match is None or match.group(2) not in _SUFFIXES:
        raise ValueError(f"{text!r} is not a quantity; write it like 500m, 2 or 4Gi")
    return Decimal(match.group(1)) * _SUFFIXES[match.group(2)]
