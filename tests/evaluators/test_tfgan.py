"""The loader of TF-GAN: what it leaves behind, and what it finds."""

import pathlib
import sys
import textwrap

import forks

ROOT = pathlib.Path(__file__).parent.parent.parent


def output(code, path=""):
    """What a Python prints that has imported none of our modules and runs `code` with `path` before all others."""
    code = f"import sys; sys.path[:0] = [{str(path)!r}, {str(ROOT)!r}]\n" + code
    done = forks.run([sys.executable, "-c", code])
    assert done.returncode == 0, done.stderr
    return done.stdout


ATTEMPT = textwrap.dedent("""
    def attempt():
        try:
            import tensorflow_gan
            return "imported"
        except Exception as error:
            return f"{type(error).__name__}: {error}"
""")
BESIDE = textwrap.dedent("""
    from tfjc.evaluators import tfgan
    found = tfgan.load()
    assert found is tfgan.load()
    left = [name for name in sys.modules if name.startswith("tensorflow_gan")]
    assert not left, left
    print(attempt())
    print(found.classifier_score_from_logits([[0.0, 9.0], [9.0, 0.0]]).numpy() > 1.9)
""")


def test_nothing_is_left_behind():
    """Somebody's own `import tensorflow_gan` ends as it would have without us."""
    alone = output(ATTEMPT + "print(attempt())")
    assert output(ATTEMPT + BESIDE).splitlines() == [alone.strip(), "True"]


def test_several_threads_at_once():
    code = """
        from concurrent.futures import ThreadPoolExecutor
        from tfjc.evaluators import tfgan
        with ThreadPoolExecutor(4) as pool:
            found = list(pool.map(lambda _: tfgan.load(), range(4)))
        print(len(set(map(id, found))), [name for name in sys.modules if name.startswith("tensorflow_gan")])
    """
    assert output(textwrap.dedent(code)) == "1 []\n"


def test_what_is_not_installed_is_named():
    code = """
        sys.modules["pkg_resources"] = None
        from tfjc.evaluators import tfgan
        try:
            tfgan.load()
        except ValueError as error:
            print(type(error).__name__, error)
    """
    assert "Unavailable tensorflow-hub needs pkg_resources: pip install 'setuptools<82'" in output(
        textwrap.dedent(code)
    )


def stub(folder, code):
    """A package tensorflow_gan whose own import runs `code`."""
    package = folder / "tensorflow_gan" / "python" / "eval"
    package.mkdir(parents=True)
    (folder / "tensorflow_gan" / "__init__.py").write_text(code)
    (folder / "tensorflow_gan" / "python" / "__init__.py").write_text("")
    (folder / "tensorflow_gan" / "python" / "other.py").write_text("")
    (package / "__init__.py").write_text("import tensorflow_gan.python.other\nmarker = 'ours'\n")


LOAD = textwrap.dedent("""
    import types
    if EARLIER:
        sys.modules["tensorflow_gan.python.losses"] = types.ModuleType("tensorflow_gan.python.losses")
    from tfjc.evaluators import tfgan
    print(tfgan.load().marker)
    print(sorted(name for name in sys.modules if name.startswith("tensorflow_gan")))
""")


def test_a_tfgan_that_imports_is_used_as_it_is(tmp_path):
    stub(tmp_path, "import tensorflow_gan.python.eval\n")
    marker, left = output("EARLIER = False" + LOAD, tmp_path).splitlines()
    assert marker == "ours"
    assert "'tensorflow_gan'" in left and "'tensorflow_gan.python.eval'" in left


def test_one_that_fails_half_way_leaves_what_was_there_before(tmp_path):
    stub(tmp_path, "import tensorflow_gan.python.other\nraise AttributeError('no estimator')\n")
    assert output("EARLIER = True" + LOAD, tmp_path).splitlines() == ["ours", "['tensorflow_gan.python.losses']"]
