"""Writes ``drawthings_mcp/_generated`` from ``proto/`` and ``fbs/``.

Run by ``make generate``; ``--check`` compares instead of writing and is part of ``make check``.
"""

from __future__ import annotations

import argparse
import filecmp
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import grpc_tools
from grpc_tools import protoc

ROOT = Path(__file__).resolve().parents[1]
GENERATED = ROOT / "drawthings_mcp" / "_generated"
PACKAGE = "drawthings_mcp/_generated"


def generate_protobuf(out: Path) -> None:
    """Messages, their type stubs and the gRPC stubs."""
    # Mapping proto/ to the package's path makes protoc write package-absolute imports.
    arguments = [
        "protoc",
        f"-I{PACKAGE}={ROOT / 'proto'}",
        f"-I{Path(grpc_tools.__file__).parent / '_proto'}",
        f"--python_out={out}",
        f"--pyi_out={out}",
        f"--grpc_python_out={out}",
        f"{PACKAGE}/image_service.proto",
    ]
    if protoc.main(arguments) != 0:
        sys.exit("protoc failed")
    messages = out / PACKAGE / "image_service_pb2.py"
    text = messages.read_text(encoding="utf-8")
    default_pool = "_descriptor_pool.Default()"
    if text.count(default_pool) != 1:
        sys.exit(f"protoc's output changed: expected one {default_pool} in {messages.name}")
    # The schema has no package, so names like EchoRequest would collide in the process-wide pool with
    # those of any other client of such a service.
    messages.write_text(text.replace(default_pool, "_descriptor_pool.DescriptorPool()"), encoding="utf-8")


def generate_flatbuffers(out: Path) -> None:
    """Readers, builders and the object API of the configuration, in one module."""
    flatc = Path(sys.executable).with_name("flatc")
    subprocess.run(
        [
            flatc,
            "--python",
            "--gen-object-api",
            "--gen-onefile",
            "--python-typing",
            "--python-decode-obj-api-strings",
            "--filename-suffix",
            "",
            "-o",
            out / PACKAGE,
            ROOT / "fbs" / "generation_configuration.fbs",
        ],
        check=True,
    )


def generate(out: Path) -> Path:
    """Everything, below ``out``; returns the folder that holds the modules."""
    (out / PACKAGE).mkdir(parents=True)
    generate_protobuf(out)
    generate_flatbuffers(out)
    init = '"""Made by ``make generate``; never edited."""\n'
    (out / PACKAGE / "__init__.py").write_text(init, encoding="utf-8")
    return out / PACKAGE


def differing(left: Path, right: Path) -> list[str]:
    """Names of files that are not the same in both folders."""
    names = {path.name for folder in (left, right) for path in folder.glob("*.py*") if path.is_file()}
    _, mismatch, errors = filecmp.cmpfiles(left, right, sorted(names), shallow=False)
    return [*mismatch, *errors]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="only compare with what is committed")
    check = parser.parse_args().check
    with tempfile.TemporaryDirectory() as folder:
        fresh = generate(Path(folder) / "out")
        if check:
            if stale := differing(fresh, GENERATED):
                sys.exit(f"out of date: {', '.join(stale)}; run `make generate` and commit the result")
            return
        shutil.rmtree(GENERATED, ignore_errors=True)
        shutil.copytree(fresh, GENERATED)


if __name__ == "__main__":
    main()
