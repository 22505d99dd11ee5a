"""The bill of materials of an image, in CycloneDX 1.6: what is in it, by package, version and licence.

Nothing in it depends on when or where it was made. Called by the main program.
"""

import uuid
from datetime import UTC, datetime

from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component as Listed
from cyclonedx.model.component import ComponentType
from cyclonedx.output import make_outputter
from cyclonedx.schema import OutputFormat, SchemaVersion
from packageurl import PackageURL

from images.build.contents import Component, Contents

__all__ = ["describe"]


def describe(name: str, version: str, digest: str, contents: Contents, made: int) -> str:
    """The bill of an image, as JSON; `made` is the time of the commit, in seconds."""
    image = Listed(
        type=ComponentType.CONTAINER,
        name=name,
        version=version,
        bom_ref=name,
        purl=PackageURL("oci", None, name, digest),
    )
    bom = Bom(components=[_listed(component, contents.release) for component in contents.components])
    bom.serial_number = uuid.uuid5(uuid.NAMESPACE_URL, f"{name}@{digest}")
    bom.metadata.timestamp = datetime.fromtimestamp(made, UTC)
    bom.metadata.component = image
    bom.register_dependency(image, list(bom.components))
    return make_outputter(bom, OutputFormat.JSON, SchemaVersion.V1_6).output_as_string(indent=1) + "\n"


def _listed(component: Component, release: str) -> Listed:
    if component.kind == "deb":
        qualifiers = {"arch": component.architecture, "distro": release}
        vendor = release.partition("-")[0] or "debian"
        purl = PackageURL("deb", vendor, component.name, component.version, qualifiers)
    else:
        purl = PackageURL("pypi", None, component.name, component.version)
    licences = [LicenseFactory().make_from_string(component.licence)] if component.licence else []
    return Listed(
        type=ComponentType.LIBRARY,
        name=component.name,
        version=component.version,
        bom_ref=purl.to_string(),
        purl=purl,
        licenses=licences,
    )
