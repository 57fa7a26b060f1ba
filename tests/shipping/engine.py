"""A container engine without daemon and registry: buildah builds, podman runs, debootstrap makes the base.

Everything it keeps lies in one directory, and nothing of it in the stores that the machine uses otherwise.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.shipping.checkout import OUTSIDE, ROOT

PLACE = ROOT / ".image"
RELEASE = "trixie"
BASE = f"localhost/debian:{RELEASE}"

NEEDED = ("buildah", "podman", "runc", "debootstrap")

LEFT_OUT = ("./dev/*", "./usr/share/doc/*", "./usr/share/man/*", "./usr/share/locale/*")
"""What Debian's own slim images leave out as well."""

TRUSTED = "/run/trusted.crt"
"""Where a build finds the authorities that this machine trusts, if pip is told of any."""

FETCHED = ("./var/cache/apt/*.bin", "./var/cache/apt/archives/*.deb", "./var/lib/apt/lists/*")

STORE = """
[storage]
driver = "vfs"
graphroot = "{place}/store"
runroot = "{place}/run"
"""

CONTAINERS = """
[containers]
default_ulimits = ["nofile=1024:4096", "nproc=4096:4096"]
[engine]
static_dir = "{place}/store/libpod"
tmp_dir = "{place}/run/libpod"
cgroup_manager = "cgroupfs"
events_logger = "file"
runtime = "runc"
"""

QUICK_DPKG = "force-unsafe-io\n"
"""What Debian's own images tell dpkg: a build that loses power is begun again."""


def troubles() -> tuple[str, ...]:
    """Return what can be seen to be missing on this machine before anything is tried."""
    if os.getuid() != 0:
        return ("only root can do it here",)
    missing = [command for command in NEEDED if shutil.which(command) is None]
    if missing:
        return (f"missing: {', '.join(missing)} (apt-get install {' '.join(missing)})",)
    made = subprocess.run(["unshare", "--mount", "--pid", "--fork", "true"], check=False, capture_output=True)
    return () if made.returncode == 0 else ("no namespaces can be made here",)


@dataclass(frozen=True)
class Engine:
    """Build and run in a directory of its own."""

    place: Path
    environment: dict[str, str] = field(default_factory=lambda: dict(OUTSIDE), repr=False)

    def set_up(self) -> None:
        """Write the configuration, and make the base image unless it is there."""
        self.place.mkdir(parents=True, exist_ok=True)
        for name, text in {"storage": STORE, "containers": CONTAINERS}.items():
            (self.place / f"{name}.conf").write_text(text.format(place=self.place))
        self.environment["CONTAINERS_CONF"] = str(self.place / "containers.conf")
        self.environment["CONTAINERS_STORAGE_CONF"] = str(self.place / "storage.conf")
        self("buildah", "rm", "--all")  # what a run that was cut short has left
        self("podman", "image", "prune", "--force")
        if self("buildah", "inspect", "--type", "image", BASE, check=False).returncode != 0:
            self._import(self._base())

    def _base(self) -> Path:
        """Make a Debian like the published slim image, once."""
        archive = self.place / f"{RELEASE}.tar"
        if not archive.exists():
            root = self.place / RELEASE
            shutil.rmtree(root, ignore_errors=True)
            self("debootstrap", "--variant=minbase", RELEASE, str(root), "http://deb.debian.org/debian")
            (root / "etc/dpkg/dpkg.cfg.d/quick").write_text(QUICK_DPKG)
            without = [f"--exclude={what}" for what in (*LEFT_OUT, *FETCHED)]
            self("tar", "--create", f"--file={archive}.new", f"--directory={root}", *without, ".")
            shutil.rmtree(root)
            Path(f"{archive}.new").rename(archive)
        return archive

    def _import(self, archive: Path) -> None:
        recipe = self.place / "Base"
        recipe.write_text(f'FROM scratch\nADD {archive.name} /\nCMD ["bash"]\n')
        self(
            "buildah",
            "build",
            "--quiet",
            "--isolation=chroot",
            "--tag",
            BASE,
            "--file",
            str(recipe),
            str(self.place),
        )

    def build_arguments(self) -> str:
        """Return what a build needs here, and how pip gets out if this machine has a way of its own."""
        arguments = ["--isolation=chroot"]
        if certificates := self.environment.get("PIP_CERT"):
            arguments.append(f"--volume={certificates}:{TRUSTED}:ro --build-arg=PIP_CERT={TRUSTED}")
        if index := self.environment.get("PIP_INDEX_URL"):
            arguments.append(f"--build-arg=PIP_INDEX_URL={index}")
        return " ".join(arguments)

    def make(self, where: Path, *arguments: str, **variables: str) -> None:
        """Run a goal of the checkout `where` on the base image; shows what it said if it fails."""
        images = {"BUILD_IMAGE": BASE, "RUNTIME_IMAGE": BASE, "DOCKER_BUILD_ARGS": self.build_arguments()}
        command = ["make", f"VENV={sys.prefix}", f"--old-file={sys.prefix}/.installed", *arguments]
        self(*command, where=where, variables=images | variables)

    def told(self, kind: str, name: str, form: str) -> str:
        """Return what the engine knows of an image or a container, in the form of a template."""
        return self("podman", kind, "inspect", "--format", form, name).stdout.strip()

    def size(self, image: str) -> int:
        """Return the size of an image, MB."""
        return int(self.told("image", image, "{{.Size}}")) // 10**6

    def inside(self, container: str, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a command in a container that runs."""
        return self("podman", "exec", container, *command, check=False)

    def __call__(
        self,
        *command: str,
        where: Path | None = None,
        check: bool = True,
        variables: Mapping[str, str] | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command as this engine is configured; raises AssertionError with what it said if it fails."""
        done = subprocess.run(
            command,
            cwd=where or self.place,
            env=self.environment | dict(variables or {}),
            stdin=subprocess.DEVNULL,
            check=False,
            capture_output=True,
            text=True,
        )
        said = re.sub(
            r'time="[^\n]*(systemd|healthcheck)[^\n]*\n', "", done.stderr
        )  # podman misses its timers
        assert not check or done.returncode == 0, (
            f"{' '.join(command)}\n{done.stdout[-3000:]}\n{said[-3000:]}"
        )
        return done


def ready() -> Engine:
    """Return an engine that has run a container; raises AssertionError saying why none can be run here."""
    found = troubles()
    assert not found, "; ".join(found)
    engine = Engine(PLACE)
    engine.set_up()
    engine("podman", "run", "--rm", "--network=host", BASE, "true")
    return engine


def main() -> None:
    """Say what keeps this machine from building and running an image; exit code 0 = nothing."""
    try:
        ready()
    except AssertionError as why:
        sys.exit(str(why))


if __name__ == "__main__":
    main()
