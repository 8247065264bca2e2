"""Writes the reference of tfjc's public names as web pages: `tools/run python tools/reference.py --output=site`.

The pages come from the docstrings, by pdoc. A warning of pdoc, such as an annotation that it cannot read, ends with
status 1.
"""

import argparse
import os
import pathlib
import sys
import warnings

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ["PDOC_ALLOW_EXEC"] = "1"  # TensorFlow and others ask `uname` for the machine while they are imported

ROOMS = (
    *("geometry", "penalties", "losses", "layers", "architectures", "models", "datasets", "callbacks", "evaluators"),
    *("saving", "dynamics", "study.statistics"),
)


def main() -> None:
    """Writes the pages and names the first one."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=pathlib.Path, default=pathlib.Path("site"))
    output = parser.parse_args().output
    import pdoc

    pdoc.render.configure(docformat="google", math=True)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        pdoc.pdoc(*(f"tfjc.{room}" for room in ROOMS), output_directory=output)
    ours = [warning for warning in caught if not issubclass(warning.category, DeprecationWarning)]
    for warning in ours:
        print(f"{warning.filename}:{warning.lineno}: {warning.message}", file=sys.stderr)
    print(f"written: {output / 'index.html'}")
    sys.exit(bool(ours))


if __name__ == "__main__":
    main()
