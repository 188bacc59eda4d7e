"""The built package: sdist → wheel → fresh environment, and the editable install."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
import tarfile
import tomllib
import venv
import zipfile
from importlib import metadata
from pathlib import Path

import pytest

import napari_neurobridge
from napari_neurobridge.models.zoo import CACHE_VARIABLE, DEFAULT_MODEL, find_model

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "napari_neurobridge"
NO_CACHE = str(ROOT / "no-such-folder")  # the tester's own models must not answer
MEBIBYTE = 2**20

REPORT = """
import json
from importlib import metadata
import napari_neurobridge
from napari_neurobridge.models.zoo import find_model
from npe2 import PluginManifest
manifest = PluginManifest.from_distribution("napari-neurobridge")
print(json.dumps({
    "package": napari_neurobridge.__file__,
    "version": metadata.version("napari-neurobridge"),
    "model": str(find_model()),
    "widgets": [widget.display_name for widget in manifest.contributions.widgets],
}))
"""


@pytest.fixture(scope="module")
def distributions(tmp_path_factory):
    """Build the sdist, and the wheel from the sdist; return both paths."""
    out = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", out, ROOT)
    (sdist,) = out.glob("*.tar.gz")
    (wheel,) = out.glob("*.whl")
    return sdist, wheel


@pytest.fixture(scope="module")
def fresh_python(distributions, tmp_path_factory):
    """Return the interpreter of a new environment that holds the wheel.

    The dependencies, torch among them, are lent by this environment through a path file:
    its packages are found after the wheel's, and its own path files, and so the editable
    install, are not read.
    """
    folder = tmp_path_factory.mktemp("fresh") / "venv"
    venv.create(folder, with_pip=False)
    scripts = folder / ("Scripts" if os.name == "nt" else "bin")
    python = scripts / ("python.exe" if os.name == "nt" else "python")
    ask = "import sysconfig; print(sysconfig.get_path('purelib'))"
    site_packages = Path(run(python, "-I", "-c", ask).strip())
    lent = {str(Path(metadata.distribution(name).locate_file(""))) for name in ("torch", "numpy")}
    (site_packages / "lent.pth").write_text("\n".join(sorted(lent)) + "\n", encoding="utf-8")
    _, wheel = distributions
    pip = (sys.executable, "-m", "pip", "--python", python)
    run(*pip, "install", "--no-deps", "--no-index", "--force-reinstall", wheel)
    return python


def run(*command: object, cwd: Path | None = None) -> str:
    """Run a command and return its output; on failure show what it said."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment[CACHE_VARIABLE] = NO_CACHE
    done = subprocess.run(
        [str(part) for part in command],
        capture_output=True,
        text=True,
        cwd=cwd,
        env=environment,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_wheel_in_a_fresh_environment_finds_its_model_and_manifest(fresh_python, tmp_path):
    answer = json.loads(run(fresh_python, "-I", "-c", REPORT, cwd=tmp_path))
    package = Path(answer["package"]).parent
    assert package.is_relative_to(fresh_python.parents[1])
    model = Path(answer["model"])
    assert model.is_relative_to(package / "models")
    assert (model / "weights.safetensors").is_file()
    assert answer["version"] == napari_neurobridge.__version__
    assert {"Data", "Match"} <= set(answer["widgets"])


def test_wheel_installs_the_command(fresh_python, tmp_path):
    command = fresh_python.with_name("neurobridge" + (".exe" if os.name == "nt" else ""))
    assert "annotate" in run(command, "--help", cwd=tmp_path)


def test_wheel_holds_what_it_needs_and_little_else(distributions):
    _, wheel = distributions
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert "napari_neurobridge/napari.yaml" in names
    assert "napari_neurobridge/py.typed" in names
    assert any(name.endswith("licenses/LICENSE") for name in names)
    parts = ("config.toml", "weights.safetensors", "calibration.toml", "SHA256SUMS", "card.md")
    for part in (*parts, "fingerprint.npz"):
        assert f"napari_neurobridge/models/{DEFAULT_MODEL}/{part}" in names
    top = {name.partition("/")[0] for name in names}
    assert {name for name in top if not name.endswith(".dist-info")} == {"napari_neurobridge"}
    assert wheel.stat().st_size < 60 * MEBIBYTE


def test_sdist_can_build_and_test_itself(distributions):
    sdist, _ = distributions
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"pyproject.toml", "README.md", "LICENSE", "Makefile", "tests/conftest.py"} <= names
    assert not [name for name in names if name.startswith((".venv", "demo-out", "docs/_build"))]


def test_editable_install_finds_the_default_model(monkeypatch):
    monkeypatch.setenv(CACHE_VARIABLE, NO_CACHE)
    if Path(napari_neurobridge.__file__).parent != SOURCE:
        pytest.skip("the package under test is not an editable install of this checkout")
    assert find_model().resolve() == (ROOT / "models" / DEFAULT_MODEL).resolve()


def test_default_model_is_small():
    folder = ROOT / "models" / DEFAULT_MODEL
    assert sum(file.stat().st_size for file in folder.iterdir()) <= 25 * MEBIBYTE


def test_every_import_is_a_declared_dependency():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    # What an extra brings is imported late, and says so where it is missing.
    extras = project["optional-dependencies"]
    lines = project["dependencies"] + extras["lora"] + extras["benchmark"] + extras["register"]
    declared = {normalized(re.split(r"[^\w.-]", line)[0]) for line in lines}
    distributions_of = metadata.packages_distributions()
    undeclared = {
        package
        for package in imported_packages(SOURCE)
        if not declared & {normalized(name) for name in distributions_of.get(package, [package])}
    }
    assert undeclared == set()


def normalized(name: str) -> str:
    """Return a distribution's name in the one form in which names are compared."""
    return re.sub(r"[-_.]+", "-", name).lower()


def imported_packages(folder: Path) -> set[str]:
    """Return the third-party top-level packages that the modules in ``folder`` import."""
    packages: set[str] = set()
    for module in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                packages |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                packages.add(node.module.partition(".")[0])
    return packages - sys.stdlib_module_names - {"napari_neurobridge"}
