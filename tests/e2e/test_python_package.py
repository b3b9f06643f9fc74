"""The installed package, away from the checkout: its program, operators, types and command."""

import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest
from program import ENTRAIN, ROOT, TINY, write_recipe


def installed():
    """Folder of the package that pip put beside torch."""
    try:
        files = metadata.files("entrain")
    except metadata.PackageNotFoundError:
        pytest.fail("the package is not installed: tools/setup tests")
    return Path(next(file for file in files if file.name == "py.typed").locate()).parent


def python(code, cwd, *arguments):
    environment = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "ENTRAIN_BUILD", "LD_LIBRARY_PATH")}
    done = subprocess.run([sys.executable, "-c", code, *map(str, arguments)], cwd=cwd, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_it_carries_all_it_needs(tmp_path):
    folder = installed()
    assert all(os.access(folder / "bin" / name, os.X_OK) for name in ("entrain", "entrain-program"))
    assert (folder / "lib" / "libentrain_ops.so").is_file()
    out = python("import entrain; from entrain import _library; print(entrain.__file__, _library.program(), _library.find('libentrain_ops.so', 'lib'), entrain.__version__, _library.built_for())", tmp_path)
    paths = out.split()
    assert all(Path(path).is_relative_to(folder) for path in paths[:3])
    assert paths[3] == metadata.version("entrain")
    assert paths[4] == metadata.version("torch").split("+")[0]


def test_it_configures_from_source(tmp_path):
    """What `pip install .` compiles, up to the compiler: with torch as Python finds it, without tests, program and operators where they find each other and torch."""
    done = subprocess.run(["cmake", "-S", ROOT, "-B", tmp_path, "-G", "Ninja", "-DSKBUILD=2", "-DENTRAIN_BENCH=OFF", f"-DPython_EXECUTABLE={sys.executable}"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "torch_version.txt").read_text().strip() == metadata.version("torch").split("+")[0]
    targets = subprocess.run(["ninja", "-C", tmp_path, "-t", "targets", "all"], capture_output=True, text=True, check=True).stdout
    assert "entrain: " in targets and "libentrain_ops.so: " in targets and "_tests: " not in targets
    install = (tmp_path / "cmake_install.cmake").read_text()
    assert "/entrain-program" in install
    for part in ('/entrain/bin" TYPE EXECUTABLE', '/entrain/lib" TYPE SHARED_LIBRARY', "\\$ORIGIN/../lib:\\$ORIGIN/../../torch/lib"):
        assert part in install, part


def test_a_finished_program_is_taken_when_told_only(tmp_path):
    """pip keeps its build folder: what one call was told must not hold for the next."""
    configure = ["cmake", "-S", ROOT, "-B", tmp_path, "-G", "Ninja", "-DSKBUILD=2", "-DENTRAIN_BENCH=OFF", f"-DPython_EXECUTABLE={sys.executable}"]

    def compiles(*more):
        subprocess.run([*configure, *more], capture_output=True, check=True)
        return "entrain_core" in subprocess.run(["ninja", "-C", tmp_path, "-t", "targets", "all"], capture_output=True, text=True, check=True).stdout

    assert not compiles(f"-DENTRAIN_PREBUILT={Path(ENTRAIN).parent}")
    assert not compiles(f"-DENTRAIN_PREBUILT={Path(ENTRAIN).parent}")
    assert compiles()


def test_it_trains_and_loads(data, tmp_path):
    recipe = write_recipe(tmp_path / "recipe.toml", data, TINY)
    out = python("import entrain, sys; run = entrain.train(sys.argv[1], 'run', progress=False); print(run.summary['step'], type(run.model()).__name__)", tmp_path, recipe)
    assert out.split() == ["4", "LlamaForCausalLM"]


def test_the_command(tmp_path):
    command = Path(sys.executable).with_name("entrain")
    environment = {key: value for key, value in os.environ.items() if key != "ENTRAIN_BUILD"}
    done = subprocess.run([command, "--version"], capture_output=True, text=True, env=environment, cwd=tmp_path)
    assert (done.returncode, done.stdout.strip()) == (0, metadata.version("entrain"))
    refused = subprocess.run([command, "trian"], capture_output=True, text=True, env=environment, cwd=tmp_path)
    assert refused.returncode == 2 and "did you mean train?" in refused.stderr


def test_a_package_without_its_library_says_what_to_do(tmp_path):
    copy = tmp_path / "site" / "entrain"
    copy.mkdir(parents=True)
    for file in installed().glob("*.py"):
        (copy / file.name).write_text(file.read_text())
    code = "import sys; sys.path.insert(0, sys.argv[1])\ntry:\n    import entrain\nexcept Exception as error:\n    print(type(error).__name__, error)"
    out = python(code, tmp_path, copy.parent)
    assert out.startswith("IoError there is no libentrain_ops.so") and "pip install" in out
    (copy / "lib").mkdir()
    (copy / "lib" / "libentrain_ops.so").write_bytes(b"\x7fELF, cut short")
    (copy / "lib" / "torch_version.txt").write_text("2.5.0\n")
    assert "built for torch 2.5.0" in python(code, tmp_path, copy.parent)


