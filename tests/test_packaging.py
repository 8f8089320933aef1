"""What is built and installed: the package with its grammar, error pages and data, under one name."""

import hashlib
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_digits

ROOT = Path(__file__).resolve().parent.parent
SHIPPED = [
    "grammar.lark",
    "dsl",
    "compiler",
    "runtime",
    "src",
    "docs/errors",
    "examples",
    "pyproject.toml",
    "MANIFEST.in",
    "README.md",
    "CHANGELOG.md",
    "LICENSE",
    "constraints.txt",
]

# one worker builds, the others are spared
pytestmark = [pytest.mark.xdist_group("packaging"), pytest.mark.timeout(180)]


def run(*args: str | Path, cwd: Path) -> str:
    """Run a command and return what it printed; its stderr is shown if it fails."""
    done = subprocess.run([str(a) for a in args], cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{args} exited {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def copy_source(to: Path) -> Path:
    """Copy the sources, links as links, so that a build leaves nothing in the working tree and meets nothing stale."""
    junk = shutil.ignore_patterns("__pycache__", "*.egg-info", ".*")
    for name in filter(lambda n: (ROOT / n).exists(), SHIPPED):
        (to / name).parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, to / name, symlinks=True, ignore=junk)
        else:
            shutil.copy(ROOT / name, to / name)
    return to


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copy_source(tmp_path_factory.mktemp("source") / "gmc")


@pytest.fixture(scope="module")
def built(source: Path) -> tuple[Path, Path]:
    """An sdist, and the wheel made from that sdist rather than from the tree."""
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", source / "dist", cwd=source)
    (sdist,), (wheel,) = (source / "dist").glob("*.tar.gz"), (source / "dist").glob("*.whl")
    return sdist, wheel


class Environment:
    """A fresh virtual environment that borrows the dependencies, but nothing of gmc, from the running one."""

    def __init__(self, folder: Path) -> None:
        run(sys.executable, "-m", "venv", "--without-pip", folder, cwd=folder.parent)
        self.folder = folder
        self.bin = folder / "bin"
        (self.site,) = folder.glob("lib/python*/site-packages")
        # A line of a .pth adds a folder to the path without running the .pth files in it: an editable gmc stays unseen.
        (self.site / "borrowed.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")

    def install(self, *args: str | Path) -> None:
        pip = [sys.executable, "-m", "pip", "--python", self.bin / "python", "--disable-pip-version-check"]
        options = ["--quiet", "--no-index", "--no-deps", "--no-build-isolation", "--ignore-installed"]
        run(*pip, "install", *options, *args, cwd=self.folder)

    def python(self, code: str) -> str:
        return run(self.bin / "python", "-c", code, cwd=self.folder).strip()

    def gmc(self, *args: str) -> str:
        return run(self.bin / "gmc", *args, cwd=self.folder)


@pytest.fixture(scope="module", params=["wheel", "editable"])
def installed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    environment = Environment(tmp_path_factory.mktemp(request.param) / "venv")
    if request.param == "wheel":
        environment.install(request.getfixturevalue("built")[1])
    else:
        # its own copy: an editable install writes metadata into the tree it points at
        environment.install("-e", copy_source(tmp_path_factory.mktemp("editable-source") / "gmc"))
    return environment


def test_command_runs(installed: Environment) -> None:
    version = installed.python("import importlib.metadata as m; print(m.version('gmc-lang'))")
    assert version in installed.gmc("--version")
    assert version in run(installed.bin / "python", "-m", "gmc", "--version", cwd=installed.folder)
    assert installed.python("import gmc; print(gmc.__version__)") == version


def test_package_comes_from_the_fresh_install(installed: Environment) -> None:
    found = Path(installed.python("import gmc; print(gmc.__file__)"))
    assert not found.is_relative_to(ROOT)
    assert not found.is_relative_to(sysconfig.get_paths()["purelib"])


def test_grammar_is_there(installed: Environment) -> None:
    read = "from importlib.resources import files; print((files('gmc.dsl') / 'grammar.lark').read_text('utf-8'))"
    assert installed.python(read) == (ROOT / "grammar.lark").read_text("utf-8").strip()


def test_error_pages_are_there(installed: Environment) -> None:
    listing = "from importlib.resources import files; print(*sorted(p.name for p in (files('gmc.dsl') / 'explain').iterdir()))"
    pages = sorted(p.name for p in (ROOT / "docs/errors").glob("*.md"))
    assert pages, "no error has a page"
    assert installed.python(listing).split() == pages


def test_data_are_there(installed: Environment) -> None:
    listing = "from importlib.resources import files; print(*sorted(p.name for p in (files('gmc.runtime') / 'data').iterdir()))"
    assert installed.python(listing).split() == sorted(p.name for p in (ROOT / "runtime/data").iterdir())


def test_marked_as_typed(installed: Environment) -> None:
    assert (
        installed.python("from importlib.resources import files; print((files('gmc') / 'py.typed').is_file())")
        == "True"
    )


def test_nothing_bare_is_importable(installed: Environment) -> None:
    search = "from importlib.util import find_spec; print([n for n in ('dsl', 'compiler', 'runtime', 'tests') if find_spec(n)])"
    assert installed.python(search) == "[]"


def test_wheel_holds_one_package_and_every_module(built: tuple[Path, Path]) -> None:
    names = set(zipfile.ZipFile(built[1]).namelist())
    assert {n.split("/")[0] for n in names if ".dist-info/" not in n} == {"gmc"}
    for folder in ("dsl", "compiler", "runtime"):
        modules = {f"gmc/{p.relative_to(ROOT).as_posix()}" for p in (ROOT / folder).rglob("*.py")}
        assert modules - names == set(), "a subfolder without __init__.py is not packaged"


def test_wheel_from_the_tree_is_the_wheel_from_the_sdist(
    source: Path, built: tuple[Path, Path], tmp_path: Path
) -> None:
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", tmp_path, source, cwd=tmp_path)
    (direct,) = tmp_path.glob("*.whl")
    assert sorted(zipfile.ZipFile(direct).namelist()) == sorted(zipfile.ZipFile(built[1]).namelist())


def test_sdist_holds_no_links(built: tuple[Path, Path]) -> None:
    with tarfile.open(built[0]) as archive:
        assert [m.name for m in archive if m.issym() or m.islnk()] == []


def test_digits_are_the_published_ones() -> None:
    folder = ROOT / "runtime/data"
    said = (folder / "README.md").read_text("utf-8")
    assert hashlib.sha256((folder / "digits.npz").read_bytes()).hexdigest() in said
    with np.load(folder / "digits.npz", allow_pickle=False) as data:
        assert sorted(data) == ["image", "label"]
        image, label = data["image"], data["label"]
    assert image.dtype == label.dtype == np.uint8
    published = load_digits()
    np.testing.assert_array_equal(image, published.images)
    np.testing.assert_array_equal(label, published.target)
    assert hashlib.sha256(image.tobytes()).hexdigest() in said
    assert hashlib.sha256(label.tobytes()).hexdigest() in said
