"""What every test shares: options, markers that skip, and the fixtures of tests/fixtures/."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

ROOT = Path(__file__).parents[1]
SHARED_DATA = ROOT.parent / "shared" / "data"

# Read by torch and its relatives when they are first imported, here and in child processes.
# One for each of pytest-xdist's workers: theirs are the cores already.
_IS_WORKER = "PYTEST_XDIST_WORKER" in os.environ
_N_THREADS = 1 if _IS_WORKER else 2
os.environ["OMP_NUM_THREADS"] = str(
    min(_N_THREADS, int(os.environ.get("OMP_NUM_THREADS", _N_THREADS)))
)

_WINDOWS = ("tests/viewer/", "tests/widgets/", "tests/integration/")

settings.register_profile("neurobridge", deadline=None)
settings.load_profile("neurobridge")

pytest_plugins = [
    f"fixtures.{module.stem}" for module in sorted((ROOT / "tests" / "fixtures").glob("[!_]*.py"))
]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--device",
        default="cpu",
        help="device of the tests that take the fixture `device`: cpu, cuda, mps, or 'all'",
    )


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "device" in metafunc.fixturenames:
        metafunc.parametrize("device", _device_names(metafunc.config.getoption("--device")))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if _IS_WORKER:
        _put_windows_first(items)
    gpu_items = [item for item in items if item.get_closest_marker("gpu")]
    if gpu_items and not _cuda_is_available():
        for item in gpu_items:
            item.add_marker(pytest.mark.skip(reason="needs a CUDA device"))
    if not SHARED_DATA.is_dir():
        for item in items:
            if item.get_closest_marker("real_data"):
                item.add_marker(pytest.mark.skip(reason="needs ../shared/data"))


def _put_windows_first(items: list[pytest.Item]) -> None:
    """Let the workers begin with the files that take longest."""
    items.sort(key=lambda item: not item.nodeid.startswith(_WINDOWS))


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of the third-party data beside the checkout."""
    if not SHARED_DATA.is_dir():
        pytest.skip("needs ../shared/data")
    return SHARED_DATA


def _device_names(option: str) -> list[str]:
    if option != "all":
        return [option]
    import torch

    names = {"cpu": True, "cuda": _cuda_is_available(), "mps": torch.backends.mps.is_available()}
    return [name for name, available in names.items() if available]


def _cuda_is_available() -> bool:
    # Imported here: most test sessions need no torch, and it takes seconds to load.
    import torch

    return torch.cuda.is_available()
