"""The plan of a study: arms, seeds, and a run for each pair of an arm and a seed."""

import dataclasses
import inspect
import json
import os
import pathlib
import re
import sys
import tokenize
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import gin

from tfjc.study import _bindings, _planned
from tfjc.support import checks, gin_files
from tfjc.support.files import write_text
from tfjc.support.run_directory import RunDirectory, is_locked, refuse_foreign

_MOST_SEEDS = 100_000
_OUTCOMES = ("finished", "diverged", "collapsed")
_NAME = r"\w[\w.-]*"


@dataclasses.dataclass(frozen=True)
class Study:
    """Arms, seeds and planned claims of a study.

    Attributes:
      arms: {name: [gin files and bindings]}. The others are compared with the first arm.
      seeds: the seeds of each arm's runs.
      bindings: gin files and bindings for all arms. These files come before those of an arm, these bindings after.
      claims: the claims that the study plans to test, as in `_planned`.
    """

    arms: dict[str, list[str]]
    seeds: tuple[int, ...]
    bindings: tuple[str, ...] = ()
    claims: tuple[dict[str, Any], ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """The study as JSON data; `claims` only if there are any."""
        found = {"arms": self.arms, "seeds": list(self.seeds), "bindings": list(self.bindings)}
        return found | ({"claims": list(self.claims)} if self.claims else {})


@dataclasses.dataclass(frozen=True)
class Run:
    """One run of a study: an arm with a seed, and its directory."""

    arm: str
    seed: int
    directory: RunDirectory

    @property
    def name(self) -> str:
        """The name of the run in tables: arm/seed."""
        return f"{self.arm}/{self.seed}"

    @property
    def log(self) -> pathlib.Path:
        """The file for the output of its process."""
        return self.directory.path.with_suffix(".log")

    @property
    def failure(self) -> pathlib.Path:
        """The file that says why the study gave the run up, if it did: {"status", "why"}."""
        return self.directory.path.with_suffix(".failure")

    def status(self) -> str:
        """The state of the run.

        `finished`, `diverged` and `collapsed` are outcomes. `interrupted` and `failed` are as in `run.json`. A run that
        is written down as running is `running` while a process holds its directory, else `killed`. A run that the study
        gave up may also be `refused`, as configured wrongly. A run is `damaged` if its records cannot be read, or if it
        finished and has lost some. Any other run is `waiting`.
        """
        if self.damage():
            return "damaged"
        found = self.directory.read_run().get("status", "waiting")
        if found in _OUTCOMES:
            return found
        if self.failure.exists():
            given_up = json.loads(self.failure.read_text(encoding="utf-8"))["status"]
            return given_up if given_up == "refused" or found in ("waiting", "running") else found
        if found == "running" and not is_locked(self.directory.path):
            return "killed"
        return found

    def damage(self) -> str | None:
        """What is damaged or lost, as text, or None."""
        try:
            finished = self.directory.read_run().get("status") == "finished"
            self.directory.read_metrics()
            return self.directory.lost() if finished else None
        except ValueError as error:
            return str(error)

    def is_over(self) -> bool:
        """Whether the run has an outcome: it finished with all its records, diverged, or ended for a collapse."""
        return self.status() in _OUTCOMES


def make(
    arms: Mapping[str, Sequence[str]] | None = None,
    seeds: int | Sequence[int] | None = None,
    bindings: Sequence[str] = (),
    claims: Sequence[Mapping[str, Any]] = (),
) -> Study:
    """A `Study` from plain data, checked.

    Args:
      arms: {name: [gin files and bindings]}. Names become directories; names of gin files end in ".gin".
      seeds: a list of seeds, or their number N for 0 to N − 1.
      bindings: gin files and bindings for all arms.
      claims: the claims that the study plans to test, as in `_planned`.

    Raises:
      ValueError: there are no arms or seeds, a seed occurs twice, a name cannot be a directory, or a claim is wrong.
    """
    if not isinstance(arms, dict) or not arms:
        raise ValueError(f"study.arms must be {{name: [gin files and bindings]}}, found {arms!r}")
    _check_bindings(bindings)
    for name, parts in arms.items():
        if not isinstance(name, str) or not re.fullmatch(rf"{_NAME}(={_NAME}(,{_NAME}={_NAME})*)?", name):
            raise ValueError(f"an arm's name must be letters, digits, '_', '-' and '.', found {name!r}")
        if not _strings(parts) or not any(part.endswith(".gin") for part in (*parts, *bindings)):
            raise ValueError(f"arm {name!r} must be a list of gin files and bindings, found {parts!r}")
    if not isinstance(seeds, (list, tuple)):
        seeds = range(checks.integer("study.seeds", seeds, minimum=1, maximum=_MOST_SEEDS))
    found = tuple(checks.seed("study.seeds", seed) for seed in seeds)
    if not found or len(set(found)) < len(found):
        raise ValueError(f"study.seeds must be different numbers, found {list(found)}")
    _planned.check(claims, list(arms))
    return Study({name: list(parts) for name, parts in arms.items()}, found, tuple(bindings), tuple(map(dict, claims)))


def define(
    arms: Mapping[str, Sequence[str]] | None = None,
    factors: Mapping[str, Mapping[str, Sequence[str]]] | None = None,
    seeds: int | Sequence[int] | None = None,
    bindings: Sequence[str] = (),
    claims: Sequence[Mapping[str, Any]] = (),
) -> Study:
    """The `Study` of a gin file: the combinations of all factors' levels, then the arms that are named.

    Args:
      arms: as in `make`. A binding may be PARAMETER += [...], which adds to the list that the arm has otherwise.
      factors: {factor: {level: [gin files and bindings]}}. Their arms are called "FACTOR=LEVEL,FACTOR=LEVEL".
      seeds, bindings, claims: as in `make`.

    Raises:
      ValueError: as in `make`; or two factors bind the same parameter, or all arms bind what an arm binds.
    """
    arms, factors = {} if arms is None else arms, {} if factors is None else factors
    if not isinstance(arms, dict):
        raise ValueError(f"study.arms must be {{name: [gin files and bindings]}}, found {arms!r}")
    if not isinstance(factors, dict):
        raise ValueError(f"study.factors must be {{factor: {{level: [gin files and bindings]}}}}, found {factors!r}")
    _check_bindings(bindings)
    for name, levels in factors.items():
        if not isinstance(levels, dict) or not levels or not all(map(_strings, levels.values())):
            raise ValueError(f"a factor must be {{level: [gin files and bindings]}}, found {levels!r} for {name!r}")
        for part in (name, *levels):
            if not isinstance(part, str) or not re.fullmatch(_NAME, part):
                raise ValueError(f"a name must be letters, digits, '_', '-' and '.', found {part!r} in study.factors")
    cells = _bindings.product(factors, bindings) if factors else {}
    if twice := sorted(cells.keys() & arms):
        raise ValueError(f"study.arms and study.factors both make the arm {twice[0]!r}")
    study = make({**cells, **arms}, seeds, bindings, claims)
    return dataclasses.replace(study, arms={name: _resolve(name, study) for name in study.arms})


def _resolve(name, study):
    try:
        return _bindings.resolve(study.arms[name], study.bindings)
    except ValueError as error:
        raise ValueError(f"arm {name!r}: {error}") from error


def _check_bindings(bindings):
    if not _strings(bindings):
        raise ValueError(f"study.bindings must be a list of strings, found {bindings!r}")


def _strings(parts):
    return isinstance(parts, (list, tuple)) and all(isinstance(part, str) for part in parts)


_define = gin.external_configurable(define, "study")


def parse(name: str, bindings: Iterable[str] = ()) -> Study:
    """The study in a gin file, by path or by its name in gin/studies; raises ValueError for a mistake in it."""
    path = gin_files.find(name, kind="study", folder=gin_files.STUDIES)
    gin.clear_config()
    try:
        gin.parse_config_files_and_bindings([str(path)], list(bindings), finalize_config=False)
        study = _define()
    except RecursionError as error:
        raise ValueError(f"{name}: the files or bindings form a loop: one of them refers to itself") from error
    except (ValueError, OSError, SyntaxError, RuntimeError, TypeError, ImportError, tokenize.TokenError) as error:
        bindable = {"study": inspect.signature(define).parameters}
        raise ValueError(f"{name}: {gin_files.explain(error, bindable)}") from error
    for part in {part for parts in (*study.arms.values(), study.bindings) for part in parts if part.endswith(".gin")}:
        gin_files.find(part)
    return study


class StudyDirectory:
    """A study's directory: `study.json`, `runs/ARM/seed_000/` with a log beside each, and the report's files."""

    def __init__(self, path: str | os.PathLike) -> None:
        self.path = pathlib.Path(path)
        self.study = self.path / "study.json"
        self.runs = self.path / "runs"

    def read(self) -> Study:
        """The study in the directory; raises ValueError if there is none, or `study.json` is damaged."""
        if not self.study.is_file():
            raise ValueError(f"{self.path} holds no study: it has no {self.study.name}")
        try:
            return make(**json.loads(self.study.read_text(encoding="utf-8")))
        except (ValueError, TypeError, RecursionError) as error:
            raise ValueError(f"{self.study} is damaged: {error}") from error

    def create(self) -> "StudyDirectory":
        """Makes the directory if it is missing; raises ValueError if it holds other files or cannot be made."""
        refuse_foreign(self.path, self.study.name, "study")
        RunDirectory(self.path).create()
        return self

    def begin(self, study: Study) -> Study:
        """Writes `study.json`; returns the study with the seeds of the directory's study added.

        Raises:
          ValueError: the directory holds a study with other arms or bindings.
        """
        if self.study.exists():
            before = self.read()
            if (before.arms, before.bindings) != (study.arms, study.bindings):
                raise ValueError(
                    f"{self.path} holds another study; choose another --workdir\n"
                    f"  was  {json.dumps(before.as_dict())}\n  now  {json.dumps(study.as_dict())}"
                )
            study = dataclasses.replace(study, seeds=tuple(dict.fromkeys((*before.seeds, *study.seeds))))
        self.path.mkdir(parents=True, exist_ok=True)
        write_text(self.study, json.dumps(study.as_dict(), indent=2) + "\n")
        self.runs.mkdir(exist_ok=True)
        return study

    def list_runs(self, study: Study) -> list[Run]:
        """Every `Run` of the study: all arms with the first seed, then with the second, and so on."""
        return [
            Run(arm, seed, RunDirectory(self.runs / arm / f"seed_{seed:03d}"))
            for seed in study.seeds
            for arm in study.arms
        ]


def command(study: Study, run: Run, options: Iterable[str]) -> list[str]:
    """The command line that trains a run. `options` are more flags of `tfjc.train`."""
    arm = study.arms[run.arm]
    files = [part for part in (*study.bindings, *arm) if part.endswith(".gin")]
    bindings = [part for part in (*arm, *study.bindings) if not part.endswith(".gin")]
    return [
        *(sys.executable, "-m", "tfjc.train", f"--workdir={run.directory.path}", f"--seed={run.seed}"),
        *(f"--gin_file={name}" for name in files),
        *(f"--gin_bindings={binding}" for binding in bindings),
        *options,
    ]
