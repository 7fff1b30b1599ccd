"""The list of everything that others wrote and Cardflow runs with, as CycloneDX 1.6.

Python packages come from the lock with their hashes, carried files from scripts/vendored.toml with
the digest of what is here, Debian packages and images from what installs them.
"""

import hashlib
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from uuid import NAMESPACE_URL, uuid5

from cyclonedx.model import HashAlgorithm, HashType
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.model.dependency import Dependency
from cyclonedx.model.license import LicenseExpression
from cyclonedx.output.json import JsonV1Dot6
from cyclonedx.schema import SchemaVersion
from packageurl import PackageURL

ROOT = Path(__file__).resolve().parents[1]
VENDORED = ROOT / "scripts" / "vendored.toml"
PINNED = re.compile(
    r"^(?P<name>[A-Za-z0-9._-]+)==(?P<version>[^\s;\\]+)(?P<rest>(?:.*\\\n)*.*)$", re.M
)
HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})")
DEBIAN = re.compile(r"_PACKAGES=\(([^)]*)\)")
IMAGE = re.compile(r"^(?:\s*image: |FROM )(?P<name>[\w./-]+):(?P<tag>[\w.-]+)", re.M)


def python_packages() -> Iterator[Component]:
    """Yield every package of the lock; the hashes are those of the files that may be installed."""
    for found in PINNED.finditer((ROOT / "requirements.lock").read_text()):
        name, version = found["name"], found["version"]
        hashes = [
            HashType(alg=HashAlgorithm.SHA_256, content=h) for h in HASH.findall(found["rest"])
        ]
        yield _component(
            name, version, PackageURL("pypi", None, name.lower(), version), hashes=hashes
        )


def vendored() -> Iterator[Component]:
    """Yield what is carried along, with every file of it."""
    for folder, entry in tomllib.loads(VENDORED.read_text()).items():
        licence = LicenseExpression(entry["licence"])
        purl = PackageURL.from_string(entry["purl"])
        whole = _component(entry["name"], entry["version"], purl, licenses=[licence])
        whole.components = [_file(path) for path in files_of(folder, entry)]
        yield whole


def files_of(folder: str, entry: dict[str, list[str]]) -> list[Path]:
    """Return the files of a folder that others wrote."""
    ours = set(entry.get("ours", ()))
    return sorted(path for path in (ROOT / folder).iterdir() if path.name not in ours)


def debian_packages() -> Iterator[Component]:
    """Yield the packages that scripts/setup.sh installs, in the version that is here."""
    groups = DEBIAN.findall((ROOT / "scripts" / "setup.sh").read_text())
    for name in sorted({name for group in groups for name in group.split()}):
        version = _installed(name)
        yield _component(name, version, PackageURL("deb", "debian", name, version))


def images() -> Iterator[Component]:
    """Yield what production is built from and runs beside."""
    texts = (
        (ROOT / name).read_text()
        for name in ("docker-compose.yml", "Dockerfile", "deploy/mail/Dockerfile")
    )
    found = {(hit["name"], hit["tag"]) for text in texts for hit in IMAGE.finditer(text)}
    for name, tag in sorted(
        found - {(own, _own_version()) for own in ("cardflow", "cardflow-mail")}
    ):
        namespace, _, last = name.rpartition("/")
        purl = PackageURL("docker", namespace or None, last, tag)
        yield _component(name, tag, purl, kind=ComponentType.CONTAINER)


def bom() -> Bom:
    """Return the whole list; the same parts have the same serial number."""
    parts = [*python_packages(), *vendored(), *debian_packages(), *images()]
    names = "\n".join(sorted(str(part.purl) for part in parts))
    made = Bom(serial_number=uuid5(NAMESPACE_URL, f"cardflow:{_own_version()}:{names}"))
    made.metadata.component = product = Component(
        name="cardflow", version=_own_version(), type=ComponentType.APPLICATION, bom_ref="cardflow"
    )
    made.components = parts
    made.dependencies = [Dependency(product.bom_ref, [Dependency(p.bom_ref) for p in parts])]
    return made


def objections(text: str) -> list[str]:
    """Return what the schema of CycloneDX 1.6 has against the list."""
    from cyclonedx.validation.json import JsonStrictValidator  # compiles grammars for two seconds

    found = JsonStrictValidator(SchemaVersion.V1_6).validate_str(text)
    return [str(found)] if found else []


def main() -> int:
    """Write the list, or say why it would not be one."""
    made = bom()
    text = JsonV1Dot6(made).output_as_string(indent=1)
    if found := objections(text):
        sys.stderr.writelines(f"{line}\n" for line in found)
        return 1
    target = ROOT / "var" / "sbom.cdx.json"
    target.parent.mkdir(exist_ok=True)
    target.write_text(text)
    sys.stdout.write(f"{target.relative_to(ROOT)}: {len(made.components)} components, valid\n")
    return 0


def _component(
    name: str,
    version: str,
    purl: PackageURL,
    *,
    kind: ComponentType = ComponentType.LIBRARY,
    hashes: list[HashType] | None = None,
    licenses: list[LicenseExpression] | None = None,
) -> Component:
    return Component(
        name=name,
        version=version or None,
        type=kind,
        purl=purl,
        bom_ref=str(purl),
        hashes=hashes,
        licenses=licenses,
    )


def _file(path: Path) -> Component:
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    name = str(path.relative_to(ROOT))
    kept = HashType(alg=HashAlgorithm.SHA_256, content=digest)
    return Component(name=name, type=ComponentType.FILE, bom_ref=name, hashes=[kept])


def _own_version() -> str:
    version: str = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    return version


def _installed(package: str) -> str:
    command = ["dpkg-query", "-W", "-f=${Version}", package]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout  # noqa: S603 a list of ours


if __name__ == "__main__":
    sys.exit(main())
