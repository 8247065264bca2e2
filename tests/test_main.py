"""`python -m tfjc`, which lists the commands."""

import importlib.util

import pytest

from tfjc import __main__ as listing


def test_every_command_is_listed_and_exists(capsys):
    assert listing.main([]) == listing.main(["--help"]) == 0
    printed = capsys.readouterr().out
    for name in ("train", "analyze", "evaluate", "study.run", "study.report", "study.lambdas", "dynamics"):
        assert f"python -m tfjc.{name} " in printed
        assert importlib.util.find_spec(f"tfjc.{name}") is not None


@pytest.mark.parametrize(
    "given, message", [("trian", "nearest: python -m tfjc.train"), ("xyz", "python -m tfjc lists")]
)
def test_another_word_is_answered_with_the_nearest_command(capsys, given, message):
    assert listing.main([given]) == 2
    assert message in capsys.readouterr().err
