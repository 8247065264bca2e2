"""The configuration of a run, read from the bindings in its `run.json`."""

import dataclasses
from collections.abc import Mapping
from typing import Any

_FREE = ("train_and_evaluate.chunk", "InceptionEvaluator.inception")  # these do not change results
_DEFAULTS = {"dataset": "dataset", "architecture": "dcgan", "model": "GAN"}  # of `train_and_evaluate`
_CLAMP = "JacobianClamping"


@dataclasses.dataclass(frozen=True)
class Configuration:
    """The bindings that a run uses, as a tree. Bindings of configurables that nothing refers to are left out.

    A reference to a configurable is {name: {parameter: value}}, or the name alone if it has no bindings.

    Attributes:
      model: the name of the model, such as "GAN".
      parameters: {parameter: value} of the model.
      rest: {parameter: value} of `train_and_evaluate` without its model, and the precision.
    """

    model: str
    parameters: dict
    rest: dict

    @property
    def is_clamped(self) -> bool:
        """Whether Jacobian Clamping is among the generator's penalties."""
        return any(_name(penalty) == _CLAMP for penalty in _penalties(self.parameters))

    @property
    def critic_steps(self) -> int:
        """Critic updates for each generator update."""
        steps = self.parameters.get("d_steps")
        return steps if isinstance(steps, int) else 1

    def without_clamp(self) -> "Configuration":
        """The same configuration without Jacobian Clamping."""
        kept = [penalty for penalty in _penalties(self.parameters) if _name(penalty) != _CLAMP]
        return dataclasses.replace(self, parameters={**self.parameters, "generator_penalties": kept})

    def without_critic_steps(self) -> "Configuration":
        """The same configuration without the number of critic steps and the decay steps of the critic's optimiser."""
        parameters = {name: value for name, value in self.parameters.items() if name != "d_steps"}
        rest = {**self.rest, "critic_optimizer": _without("decay_steps", self.rest.get("critic_optimizer"))}
        return dataclasses.replace(self, parameters=parameters, rest=rest)


def read(about: Mapping[str, Any]) -> Configuration | None:
    """The configuration of a run, from the content of its `run.json`; None without bindings.

    gin's rules of scopes apply. For a reference a/b/name, a binding in scope a/b takes precedence over one in scope a,
    and that over one without a scope. A reference without a scope inherits the scope of the configurable that it is
    bound to.
    """
    bindings = about.get("bindings")
    if not isinstance(bindings, dict):
        return None
    table: dict[str, dict] = {}
    for key, value in bindings.items():
        owner, _, parameter = key.rpartition(".")
        *scope, name = owner.split("/")
        if f"{name}.{parameter}" not in _FREE:
            table.setdefault(name, {}).setdefault(tuple(scope), {})[parameter] = value
    rest = _parameters("train_and_evaluate", (), table, (), _DEFAULTS)
    model = rest.pop("model")
    parameters = {**next(iter(model.values()))} if isinstance(model, dict) else {}
    parameters["generator_penalties"] = _penalties(parameters)
    precisions = [session.get("precision") for session in about.get("sessions", [])]
    return Configuration(_name(model), parameters, {**rest, "precision": precisions[-1:]})


def _parameters(name, scope, table, path, defaults=()):
    """{parameter: value} of a configurable in a scope, with references expanded."""
    bound = table.get(name, {})
    found = dict(defaults)
    for depth in range(len(scope) + 1):
        found |= bound.get(scope[:depth], {})
    path = (*path, (name, scope))
    return {parameter: _expand(value, scope, table, path) for parameter, value in found.items()}


def _expand(value, scope, table, path):
    if isinstance(value, list):
        return [_expand(part, scope, table, path) for part in value]
    if isinstance(value, dict):
        return {name: _expand(part, scope, table, path) for name, part in value.items()}
    if not isinstance(value, str):
        return value
    *own, name = value.split("/")
    scope = tuple(own) or scope
    if name not in table or (name, scope) in path:
        return value
    return {name: _parameters(name, scope, table, path)}


def _penalties(parameters):
    """The generator's penalties as a list."""
    found = parameters.get("generator_penalties") or []
    return found if isinstance(found, list) else [found]


def _name(reference):
    """The name of an expanded reference, without scope and module."""
    name = next(iter(reference), "") if isinstance(reference, dict) else str(reference)
    return name.rpartition("/")[2].rpartition(".")[2]


def _without(name, value):
    """A value of a tree without its entries called `name`."""
    if isinstance(value, list):
        return [_without(name, part) for part in value]
    if isinstance(value, dict):
        return {key: _without(name, part) for key, part in value.items() if key != name}
    return value
