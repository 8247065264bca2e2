"""The configuration of runs: the names that gin files may use, parsing, and explained mistakes.

No other module imports gin, except `tfjc.study._plan` and `tfjc.study._bindings`.
"""

import contextlib
import inspect
import logging
import pathlib
import re
import tokenize
import traceback
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import gin
import keras

from tfjc import architectures, datasets, evaluators, models, penalties
from tfjc.dynamics import games, mlp, portraits
from tfjc.evaluators import evaluation
from tfjc.runs import experiment
from tfjc.support import checks, gin_files

_CONFIGURABLES = {
    "train_and_evaluate": experiment.train_and_evaluate,
    "evaluate": evaluation.choose,
    "dataset": datasets.load,
    "dcgan": architectures.dcgan,
    "dcgan_vae": architectures.dcgan_vae,
    "mlp": architectures.mlp,
    "wgangp_resnet": architectures.wgangp_resnet,
    "sngan_cnn": architectures.sngan_cnn,
    "sngan_resnet": architectures.sngan_resnet,
    "GAN": models.GAN,
    "DampedGAN": models.DampedGAN,
    "VAE": models.VAE,
    "Memoriser": models.Memoriser,
    "JacobianClamping": penalties.JacobianClamping,
    "QuotientFloor": penalties.QuotientFloor,
    "ConditionNumber": penalties.ConditionNumber,
    "SpectralSpread": penalties.SpectralSpread,
    "Isometry": penalties.Isometry,
    "PathLength": penalties.PathLength,
    "OroJaR": penalties.OroJaR,
    "GradientPenalty": penalties.GradientPenalty,
    "R1": penalties.R1,
    "R2": penalties.R2,
    "Adam": keras.optimizers.Adam,
    "PolynomialDecay": keras.optimizers.schedules.PolynomialDecay,
    "InceptionEvaluator": evaluators.InceptionEvaluator,
    "ClassifierEvaluator": evaluators.ClassifierEvaluator,
    "MissingModes": evaluators.MissingModes,
    "Figure": portraits.Figure,
    "Portrait": portraits.Portrait,
    "OneParameterGAN": games.OneParameterGAN,
    "Clamped": games.Clamped,
    "Averaged": games.Averaged,
    "BilinearGame": games.BilinearGame,
    "DiracGAN": games.DiracGAN,
    "MLPGAN": mlp.MLPGAN,
    "RandomCut": mlp.RandomCut,
}

# Parameters that the caller supplies. gin would ignore their bindings without a message, so they are refused.
_SUPPLIED = {
    "train_and_evaluate": [
        "workdir",
        "seed",
        "data_dir",
        "manual_dir",
        "resume",
        "force",
        "dry_run",
        "steps_per_execution",
        "config",
        "bindings",
    ],
    "evaluate": ["z", "labels", "data_dir", "manual_dir", "inception", "configured"],
    "dataset": ["data_dir", "manual_dir"],
    "dcgan": ["image_shape", "seed"],
    "dcgan_vae": ["image_shape", "seed"],
    "mlp": ["image_shape", "seed"],
    "wgangp_resnet": ["image_shape", "seed"],
    "sngan_cnn": ["image_shape", "seed"],
    "sngan_resnet": ["image_shape", "seed"],
    "GAN": ["generator", "critic", "num_classes", "prior", "seed", "name"],
    "DampedGAN": ["generator", "critic", "num_classes", "prior", "seed", "name"],
    "Memoriser": ["generator", "critic", "prior", "seed", "name"],
    "VAE": ["generator", "encoder", "prior", "seed", "name"],
    "InceptionEvaluator": ["z", "data", "labels"],
    "ClassifierEvaluator": ["z", "data", "labels"],
    "MissingModes": ["z", "data", "labels"],
}
_REGISTERED = {
    name: gin.external_configurable(target, name, denylist=_SUPPLIED.get(name))
    for name, target in _CONFIGURABLES.items()
}

_searched: list[str] = []  # directories where gin looks for included files
_OF_EVALUATION = {"evaluate", "InceptionEvaluator", "ClassifierEvaluator", "MissingModes"}  # `evaluate` may use them
_MADE_BY = {"dataset": "dataset", "architecture": "dcgan", "model": "GAN"}  # configurables by default


def train_and_evaluate(**options: Any) -> list[dict[str, Any]] | None:
    """`experiment.train_and_evaluate` with its bindings, which are kept in the run directory.

    By default the dataset, architecture and model are the configurables `dataset`, `dcgan` and `GAN`, with the bindings
    of these.
    """
    made = {name: _REGISTERED[by] for name, by in _MADE_BY.items() if not _is_bound(f"train_and_evaluate.{name}")}
    if "dataset" in made and "dataset" not in options:
        made["dataset"] = dataset
    return _REGISTERED["train_and_evaluate"](**{"config": _started, "bindings": bindings(), **made, **options})


def _started() -> dict[str, str]:
    """`texts` when everything that a run consists of has been made; warns of configurables that none of it uses."""
    used = set(re.findall(r"^# Parameters for (?:.*/)?(\w+):", gin.operative_config_str(), re.MULTILINE))
    bound = {name.rpartition(".")[0].rpartition("/")[2] for name in bindings()}
    idle = sorted((bound & set(_CONFIGURABLES)) - used - _OF_EVALUATION)
    if idle:
        logging.getLogger("tfjc").warning("bindings without effect: the configuration nowhere uses %s", ", ".join(idle))
    return texts()


def dataset(**where: Any) -> datasets.Dataset:
    """`datasets.load` with the bindings of `dataset`; raises ConfigError where none names a dataset."""
    _check_named()
    return _REGISTERED["dataset"](**where)


def dataset_size() -> int | tuple[int, ...] | None:
    """The bound `dataset.size` in pixels, or None; raises ValueError for one that is no size."""
    size = _bound("dataset.size")
    return None if size is None else datasets.check_size(size)


def _check_named():
    if _bound("dataset.name") is None:
        example = "--gin_bindings=\"dataset.name = 'mnist'\""
        raise ConfigError(f"the dataset is not named: --gin_file=gin/digits.gin, for example, or {example}")


def choose(*args: Any, **kwargs: Any) -> list[evaluators.Evaluator]:
    """`evaluation.choose` with the dataset and scores that are bound to `evaluate`, or else `train_and_evaluate`.

    A `dataset` among the arguments comes before a bound one.
    """
    for name in ("dataset", "scores"):
        if _bound(f"evaluate.{name}") is None and _bound(f"train_and_evaluate.{name}") is not None:
            gin.bind_parameter(f"evaluate.{name}", _bound(f"train_and_evaluate.{name}"))
    if _bound("evaluate.dataset") is None:
        kwargs.setdefault("dataset", dataset)
    kwargs["configured"] = {target: _REGISTERED[name] for name, target in _CONFIGURABLES.items()}
    return _REGISTERED["evaluate"](*args, **kwargs)


def phase_portraits() -> portraits.Figure:
    """The bound `portraits.Figure`; raises ConfigError where none is bound."""
    if _bound("Figure.panels") is None:
        raise ConfigError("no figure is named: --gin_file=gin/dynamics/gaussian_bias.gin, for example")
    return _REGISTERED["Figure"]()


def _bound(parameter):
    """The value bound to a parameter, or None."""
    return gin.query_parameter(parameter) if _is_bound(parameter) else None


def _is_bound(parameter):
    try:
        gin.query_parameter(parameter)
    except ValueError:
        return False
    return True


class ConfigError(ValueError):
    """A gin file or binding cannot be used. The message holds gin's own and the nearest valid names."""


def parse(files: Sequence[str], bindings: Iterable[str]) -> None:
    """Clears the configuration, then reads gin files and bindings; raises ConfigError for a mistake in them.

    Included files are looked for in the directories of `files`, then in the project's `gin/`.
    """
    gin.clear_config()
    with explained():
        paths = [gin_files.find(name) for name in files]
    for path in paths:
        try:
            path.read_text(encoding="utf-8")
        except ValueError as error:
            raise ConfigError(f"{path} cannot be read as text: {error}") from error
    for place in (*(str(path.parent) for path in paths), str(gin_files.directory())):
        if place not in _searched:
            gin.add_config_file_search_path(place)
            _searched.append(place)
    logging.disable(logging.ERROR)  # gin logs an error for each directory that lacks an included file
    try:
        gin.parse_config_files_and_bindings([str(path) for path in paths], list(bindings), finalize_config=False)
    except RecursionError as error:
        raise ConfigError(f"a gin file includes itself: {', '.join(map(str, paths))}") from error
    except (ValueError, OSError, SyntaxError, RuntimeError, ImportError, tokenize.TokenError) as error:
        raise ConfigError(explain(error)) from error
    finally:
        logging.disable(logging.NOTSET)
    _refuse_idle_macros(bindings)
    _refuse_empty_macros()


def refuse_code(path: pathlib.Path) -> None:
    """Raises ConfigError if a run's `config.gin` imports a module or includes a file, since both can run code.

    A run's `config.gin` has imports only if the run's gin files had them.
    """
    code = (gin.config_parser.ImportStatement, gin.config_parser.IncludeStatement)
    try:
        statements = list(gin.config_parser.ConfigParser(path.read_text(encoding="utf-8"), _Names()))
    except (ValueError, SyntaxError, tokenize.TokenError) as error:
        raise ConfigError(f"{path} is damaged: {explain(error)}") from error
    for statement in statements:
        if isinstance(statement, code):
            line = statement.location.line_content.strip()
            raise ConfigError(
                f"{path} holds {line!r}, which can run code. If you trust the source of the run, use --trust"
            )


def _refuse_empty_macros():
    """Raises ConfigError for a macro %name without a value."""
    for name in re.findall(r"[\s,\[(:]%(\w+)", gin.config_str()):
        try:
            gin.query_parameter(f"{name}/macro.value")
        except ValueError:
            raise ConfigError(f"%{name} needs a value bound to {name}, found none") from None


def _refuse_idle_macros(bindings):
    """Raises ConfigError for a binding that names no configurable. gin reads it as a macro, which nothing uses."""
    for binding in bindings:
        name = re.match(r"\s*(\w+)\s*=", binding)
        if name and f"%{name[1]}" not in gin.config_str():
            parameters = [(p, f"{c}.{p}") for c, f in _CONFIGURABLES.items() for p in inspect.signature(f).parameters]
            near = [full for close in checks.nearest(name[1], dict(parameters)) for p, full in parameters if p == close]
            raise ConfigError(f"{name[1]!r} names no configurable's parameter; nearest: {', '.join(near) or 'none'}")


def texts() -> dict[str, str]:
    """{file name in a run directory: text}: the whole configuration, and the part that was used so far."""
    return {"config.gin": gin.config_str(), "operative_config.gin": gin.operative_config_str()}


def bindings() -> dict[str, Any]:
    """The configuration of `config.gin` as JSON data: {"scope/configurable.parameter": value}.

    Macros are replaced by their values, references to configurables by their names with scopes, tuples by lists.
    """
    found: dict[str, Any] = {}
    macros: dict[str, Any] = {}
    for statement in gin.config_parser.ConfigParser(gin.config_str(), _Names()):
        if isinstance(statement, gin.config_parser.BindingStatement):
            scope, selector, parameter, value, _ = statement
            name = "/".join(part for part in (scope, selector) if part)
            if parameter:
                found[f"{name}.{parameter}"] = value
            else:
                macros[name] = value
    return {name: _as_json(value, macros) for name, value in found.items()}


class _Names(gin.config_parser.ParserDelegate):
    """Replaces references and macros by their names. It looks nothing up, so that no code is imported."""

    def configurable_reference(self, scoped_configurable_name: str, evaluate: bool) -> str:
        return scoped_configurable_name

    def macro(self, macro_name: str) -> "_Macro":
        return _Macro(macro_name)


class _Macro(str):
    """The name of a macro."""


def _as_json(value, macros, within=()):
    """A bound value as JSON data. A macro that refers to itself, or has no value, stays a %name."""
    if isinstance(value, _Macro):
        known = value in macros and value not in within
        return _as_json(macros[value], macros, (*within, value)) if known else f"%{value}"
    if isinstance(value, dict):
        return {str(_as_json(key, macros, within)): _as_json(part, macros, within) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_as_json(part, macros, within) for part in value]
    return value if value is None or isinstance(value, (bool, int, float, str)) else repr(value)


@contextlib.contextmanager
def explained() -> Iterator[None]:
    """A context that turns ValueError, TypeError and OSError into ConfigError, with the message of `explain`.

    So it does with the RecursionError of a configurable that refers to itself.
    """
    try:
        yield
    except ConfigError as error:
        raise ConfigError(gin_files.message(error)) from error
    except RecursionError as error:
        calls = [frame.filename for frame in traceback.extract_tb(error.__traceback__)].count(gin.config.__file__)
        if calls < 10:
            raise
        raise ConfigError("the bindings form a loop: a configurable refers to itself") from error
    except (ValueError, TypeError, OSError) as error:
        raise ConfigError(explain(error)) from error


def explain(error: BaseException) -> str:
    """The error's message as `gin_files.explain` words it, with the valid names nearest to an unknown one."""
    bindable = {
        name: set(inspect.signature(target).parameters) - set(_SUPPLIED.get(name, ()))
        for name, target in _CONFIGURABLES.items()
    }
    return gin_files.explain(error, bindable)
