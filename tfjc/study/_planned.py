"""The claims that a study plans to test. They are data of the study, written before its first run.

A claim is a dict with `claim` (a sentence), `outcome` (a recorded number; NAME@STEP at one step, else at the end),
`expected` ("greater" or "less") and one of:

- `difference`: [A, B], two arms. Tested: the outcome of A less that of B, paired by seed.
- `factors`: {factor: [low, high], factor: [low, high]} and `effect`: the name of one of them, or "interaction". Further
  factors have one level each. Tested: the effect in the 2 × 2 design, paired by seed.
- `dose`: another recorded number, and `within`: "arms" or "seeds". Tested: Spearman's correlation of dose and outcome
  among the runs of each arm, or among the arms of each seed. Optional: `given`, a number whose order is held (partial
  correlation), and `arms`, a list.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from tfjc.support import checks

SIDES = {"greater": 1, "less": -1}
_KINDS = {"difference": set(), "factors": {"effect"}, "dose": {"within"}}  # the further keys that each kind needs
_OPTIONAL = {"dose": {"given", "arms"}}


def check(claims: Sequence[Mapping[str, Any]], arms: Sequence[str]) -> None:
    """Raises ValueError for a claim that lacks a key, has an unknown one, or names an arm that does not exist."""
    if not isinstance(claims, (list, tuple)) or not all(isinstance(claim, dict) for claim in claims):
        raise ValueError(f"study.claims must be a list of dicts, found {claims!r}")
    names = [claim.get("claim") for claim in claims]
    for claim in claims:
        try:
            _check(claim, arms)
            if names.count(claim["claim"]) > 1:
                raise ValueError("two claims have the same sentence")
        except ValueError as error:
            raise ValueError(f"study.claims, {claim.get('claim')!r}: {error}") from error


def _check(claim, arms):
    kinds = [kind for kind in _KINDS if kind in claim]
    if len(kinds) != 1:
        raise ValueError(f"expected one of {', '.join(_KINDS)}, found {', '.join(kinds) or 'none'}")
    needed = {"claim", "outcome", "expected", kinds[0], *_KINDS[kinds[0]]}
    for key in claim:
        checks.one_of("key", key, [*needed, *_OPTIONAL.get(kinds[0], ())])
    if missing := sorted(needed - claim.keys()):
        raise ValueError(f"it lacks {', '.join(missing)}")
    for key in ("claim", "outcome", "dose", "given", "within", "effect"):
        if not isinstance(claim.get(key, ""), str):
            raise ValueError(f"{key} must be a string, found {claim[key]!r}")
    for key in ("outcome", "dose", "given"):
        name, at, step = claim.get(key, "name").partition("@")
        if not name or (at and not step.isdecimal()):
            raise ValueError(f"{key} must be NAME or NAME@STEP, found {claim[key]!r}")
    names = [claim[key] for key in ("outcome", "dose", "given") if key in claim]
    if len(set(names)) < len(names):
        raise ValueError(f"outcome, dose and given must be different numbers, found {', '.join(names)}")
    checks.one_of("expected", claim["expected"], SIDES)
    if kinds[0] == "dose":
        checks.one_of("within", claim["within"], ("arms", "seeds"))
    for arm in compared_arms(claim, arms):
        checks.one_of("arm", arm, arms)


def compared_arms(claim: Mapping[str, Any], arms: Sequence[str]) -> list[str]:
    """The arms that a claim compares. Of a 2 × 2 design: without the factors, with the first, the second, and both."""
    if "difference" in claim:
        return _different("difference", claim["difference"], 2, 2)
    if "dose" in claim:
        return _different("arms", claim.get("arms", arms), 1, len(arms))
    factors = claim["factors"]
    if not isinstance(factors, dict) or not all(isinstance(levels, (list, tuple)) for levels in factors.values()):
        raise ValueError(f"factors must be {{factor: [levels]}}, found {factors!r}")
    crossed = crossed_factors(claim)
    if len(crossed) != 2 or any(len(levels) not in (1, 2) for levels in factors.values()):
        raise ValueError(f"factors must be two factors of two levels, and others of one level, found {factors!r}")
    checks.one_of("effect", claim["effect"], (*crossed, "interaction"))
    chosen = [{crossed[0]: first, crossed[1]: second} for second in (0, 1) for first in (0, 1)]
    cells = [{f"{name}={levels[cell.get(name, 0)]}" for name, levels in factors.items()} for cell in chosen]
    named = {frozenset(arm.split(",")): arm for arm in arms}
    return [named.get(frozenset(cell), ",".join(sorted(cell))) for cell in cells]


def _different(key, arms, least, most):
    """A list of arms, checked."""
    if not isinstance(arms, (list, tuple)) or not all(isinstance(arm, str) for arm in arms):
        raise ValueError(f"{key} must be a list of arms, found {arms!r}")
    if len(set(arms)) < len(arms) or not least <= len(arms) <= most:
        raise ValueError(
            f"{key} must be {least if least == most else f'{least} to {most}'} different arms, found {list(arms)}"
        )
    return list(arms)


def crossed_factors(claim: Mapping[str, Any]) -> list[str]:
    """The factors of a 2 × 2 design that have two levels."""
    return [name for name, levels in claim["factors"].items() if len(levels) == 2]


def contrast(claim: Mapping[str, Any]) -> str:
    """What a claim tests, as text."""
    if "difference" in claim:
        return " less ".join(claim["difference"])
    if "factors" in claim:
        levels = (f"{name} {' and '.join(map(str, values))}" for name, values in claim["factors"].items())
        effect = claim["effect"]
        return f"{'interaction' if effect == 'interaction' else f'effect of {effect}'}: {', '.join(levels)}"
    given = f", given {claim['given']}" if "given" in claim else ""
    return f"correlation with {claim['dose']}{given}, within {claim['within']}"
