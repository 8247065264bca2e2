"""The plan of a study: arms, seeds, and a run for each pair of an arm and a seed."""

import dataclasses
import json
import os
import pathlib
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import gin

from tfjc.support import checks, gin_files
from tfjc.support.files import write_text
from tfjc.support.run_directory import RunDirectory, refuse_foreign

_MOST_SEEDS = 100_000


@dataclasses.dataclass(frozen=True)
class Study:
    """Arms and seeds of a study.

    Attributes:
      arms: {name: [gin files and bindings]}. The others are compared with the first arm.
      seeds: the seeds of each arm's runs.
      bindings: gin bindings for all arms.
    """

    arms: dict[str, list[str]]
    seeds: tuple[int, ...]
    bindings: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """The study as JSON data."""
        return {"arms": self.arms, "seeds": list(self.seeds), "bindings": list(self.bindings)}


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

    def status(self) -> str:
        """`waiting`, `damaged`, or as in `run.json`.

        `run.json` has `running` (also of a run that was killed), `interrupted`, `failed`, `finished` or `diverged`. A
        run is `damaged` if `run.json` or `metrics.jsonl` cannot be read, or if it finished and has lost records.
        """
        return "damaged" if self.damage() else self.directory.read_run().get("status", "waiting")

    def damage(self) -> str | None:
        """What is damaged or lost, as text, or None."""
        try:
            finished = self.directory.read_run().get("status") == "finished"
            self.directory.read_metrics()
            return self.directory.lost() if finished else None
        except ValueError as error:
            return str(error)

    def is_over(self) -> bool:
        """Whether the run has an outcome: it finished with all its records, or diverged."""
        return self.status() in ("finished", "diverged")


def make(
    arms: Mapping[str, Sequence[str]] | None = None,
    seeds: int | Sequence[int] | None = None,
    bindings: Sequence[str] = (),
) -> Study:
    """The `Study` of a gin file.

    Args:
      arms: {name: [gin files and bindings]}. Names become directories; names of gin files end in ".gin".
      seeds: a list of seeds, or their number N for 0 to N − 1.
      bindings: gin bindings for all arms.

    Raises:
      ValueError: there are no arms or seeds, a seed occurs twice, or a name cannot be a directory.
    """
    if not isinstance(arms, dict) or not arms:
        raise ValueError(f"study.arms must be {{name: [gin files and bindings]}}, found {arms!r}")
    for name, parts in arms.items():
        if not isinstance(name, str) or not re.fullmatch(r"\w[\w.-]*", name):
            raise ValueError(f"an arm's name must be letters, digits, '_', '-' and '.', found {name!r}")
        if not _strings(parts) or not any(part.endswith(".gin") for part in parts):
            raise ValueError(f"arm {name!r} must be a list of gin files and bindings, found {parts!r}")
    if not isinstance(seeds, (list, tuple)):
        seeds = range(checks.integer("study.seeds", seeds, minimum=1, maximum=_MOST_SEEDS))
    found = tuple(checks.seed("study.seeds", seed) for seed in seeds)
    if not found or len(set(found)) < len(found):
        raise ValueError(f"study.seeds must be different numbers, found {list(found)}")
    if not _strings(bindings):
        raise ValueError(f"study.bindings must be a list of strings, found {bindings!r}")
    return Study({name: list(parts) for name, parts in arms.items()}, found, tuple(bindings))


def _strings(parts):
    return isinstance(parts, (list, tuple)) and all(isinstance(part, str) for part in parts)


_make = gin.external_configurable(make, "study")


def parse(name: str, bindings: Iterable[str] = ()) -> Study:
    """The study in a gin file, by path or by its name in gin/studies; raises ValueError for a mistake in it."""
    path = gin_files.find(name, kind="study", folder="studies")
    gin.clear_config()
    try:
        gin.parse_config_files_and_bindings([str(path)], list(bindings), finalize_config=False)
        study = _make()
    except (OSError, SyntaxError, RuntimeError, TypeError) as error:
        raise ValueError(f"{name}: {error}") from error
    for part in {part for parts in study.arms.values() for part in parts if part.endswith(".gin")}:
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
    parts = [*study.arms[run.arm]]
    files = [part for part in parts if part.endswith(".gin")]
    bindings = [*(part for part in parts if not part.endswith(".gin")), *study.bindings]
    return [
        *(sys.executable, "-m", "tfjc.train", f"--workdir={run.directory.path}", f"--seed={run.seed}"),
        *(f"--gin_file={name}" for name in files),
        *(f"--gin_bindings={binding}" for binding in bindings),
        *options,
    ]
