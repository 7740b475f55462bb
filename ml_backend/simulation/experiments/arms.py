"""The strategies of an experiment as one writes them: ``thc+2*wpu+duw+acft+pseudo:0.2#1``.

Words are joined by ``+``, in any order:

``mc``, ``2*thc``        any score of docs/scores.md, with a weight; several are fused.  ``composite`` stands for the product's
                         own scores and weights, ``true_error`` for what only a simulation knows
``kcenter``, ``duw``, …  how a batch is chosen (SELECTIONS); without one, highest score first, for ``composite`` weighted
                         k-medians.  Alone, ``duw``, ``duw_paper`` and ``hybrid`` bring their scores with them
``lambda:0.5``           the factor of the scores in DUW, their exponent in k-medians
``fixed``, ``increase``, ``decrease``  DUW without G: distance + factor · score, the factor constant, times the labelled share of
                         the pool, or times the rest
``poses``, ``features``  the space of distances
``max``, ``sum``         how the scores of several figures become that of the frame; without it their mean
``minmax``               scores stretched to [0, 1] instead of percentiles
``acft``, ``scratch``, … a training recipe of ``pose.presets``;  ``randaugment``  RandAugment(2, 9) on top
``pseudo:0.2``           pseudo-labels, with their share of a batch; ``pseudo_repeat``: frames of the previous round may come back
``views2``               people label that many views of every later frame, and as many more frames
``#2``                   at the end: number of a repetition, to draw anew

``random``, ``full`` and ``idle`` choose by themselves and take recipes and pseudo-labels only.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from label_config.values import BadInputError
from ml_backend.acquisition.order_window import Strategy
from ml_backend.acquisition.score_registry import SCORES
from ml_backend.pose.presets import PRESETS

#: References, no strategies: every frame of the pool labelled at once; as many steps as the others but no new labels.
FULL, IDLE = "full", "idle"
REFERENCES = (FULL, IDLE)
RANDOM = "random"
WHOLE = (RANDOM, *REFERENCES)
COMPOSITE, TRUE_ERROR = "composite", "true_error"
#: What can be fused.
TERMS = (COMPOSITE, TRUE_ERROR, *(name for name in SCORES if name not in WHOLE))
SELECTIONS: Mapping[str, Strategy] = {
    "top": Strategy.TOP,
    "k_median": Strategy.K_MEDIAN,
    "kcenter": Strategy.K_CENTER,
    "coreset": Strategy.K_CENTER,
    "k_means": Strategy.K_MEANS,
    "duw": Strategy.DUW,
    "duw_paper": Strategy.DUW_PAPER,
    "hybrid": Strategy.HYBRID,
}
_DUW = (Strategy.DUW, Strategy.DUW_PAPER)
#: Selections that read no score, and the scores of those that stand alone.
_WITHOUT_SCORES = (Strategy.K_CENTER, Strategy.K_MEANS)
_OWN_SCORES = {"duw": COMPOSITE, "duw_paper": COMPOSITE, "hybrid": "least_confidence"}
WEIGHINGS = ("fixed", "increase", "decrease")
SPACES = ("poses", "features")
COMBINES = ("max", "sum")
#: "hybrid" stops early by validation frames, which an experiment does not have.
RECIPES = tuple(name for name in PRESETS if name != "hybrid")
OPTIONS = ("lambda:<factor>", *WEIGHINGS, *SPACES, *COMBINES, "minmax", *RECIPES, "randaugment", "pseudo[:<ratio>]",
           "pseudo_repeat[:<ratio>]", "views<n>")  # fmt: skip


@dataclass(frozen=True)
class Arm:
    """One strategy; the module says what each part means.  ``str`` and :meth:`parse` are each other's inverse.

    terms  scores with weights, in the order given; or one of WHOLE alone
    """

    terms: tuple[tuple[str, float], ...] = ()
    selection: str = ""
    trade_off: float | None = None
    weighing: str = ""
    space: str = ""
    combine: Literal["", "max", "sum"] = ""
    minmax: bool = False
    recipe: str = ""
    randaugment: bool = False
    pseudo: Literal["", "pseudo", "pseudo_repeat"] = ""
    pseudo_ratio: float | None = None
    views: int = 0
    draw: int = 0

    @classmethod
    def parse(cls, text: str) -> Arm:
        """Raises BadInputError for an unknown word and for words that do not go together, with those that exist."""
        (arm,) = _parsed([text])
        return arm

    @property
    def whole(self) -> str:
        """The word of WHOLE that this is, "" for all others."""
        return self.terms[0][0] if self.terms and self.terms[0][0] in WHOLE else ""

    @property
    def strategy(self) -> Strategy:
        """How a batch is chosen."""
        if self.whole:
            return Strategy.RANDOM
        if self.selection:
            return SELECTIONS[self.selection]
        return Strategy.K_MEDIAN if any(name == COMPOSITE for name, _ in self.terms) else Strategy.TOP

    def weights(self, composite: Mapping[str, float]) -> dict[str, float]:
        """Score → weight; ``composite`` are the product's."""
        own = _OWN_SCORES.get(self.selection)
        found: dict[str, float] = {}
        for name, weight in () if self.whole else self.terms or (((own, 1.0),) if own else ()):
            for score, share in (composite if name == COMPOSITE else {name: 1.0}).items():
                found[score] = found.get(score, 0.0) + weight * share
        return found

    @property
    def training(self) -> str:
        """The part that decides how the first model is trained."""
        return "".join(f"+{part}" for part in (self.recipe if self.recipe == "scratch" else "", self._augment) if part)

    @property
    def kind(self) -> str:
        """The strategy without the number of the draw: what is averaged over draws."""
        ratio = "" if self.pseudo_ratio is None else f":{self.pseudo_ratio:g}"
        parts = [name if weight == 1 else f"{weight:g}*{name}" for name, weight in self.terms]
        parts += [self.selection, "" if self.trade_off is None else f"lambda:{self.trade_off:g}", self.weighing, self.space]
        parts += [self.combine, "minmax" if self.minmax else "", self.recipe, self._augment, self.pseudo + ratio]
        return "+".join(part for part in (*parts, f"views{self.views}" if self.views else "") if part)

    @property
    def _augment(self) -> str:
        return "randaugment" if self.randaugment else ""

    def __str__(self) -> str:
        return self.kind + (f"#{self.draw}" if self.draw else "")


def parse_arms(text: str) -> tuple[Arm, ...]:
    """Strategies with commas between them.  Raises one BadInputError for all that are wrong."""
    return _parsed(text.split(","))


def _parsed(texts: Sequence[str]) -> tuple[Arm, ...]:
    arms, wrong = [], []
    for text in texts:
        try:
            arms.append(_read(text))
        except BadInputError as error:
            wrong.append(str(error))
    if wrong:
        raise BadInputError("\n".join([*dict.fromkeys(wrong), known_words()]))
    return tuple(arms)


def known_words() -> str:
    """What exists, for error messages."""
    return (
        f"alone: {', '.join(WHOLE)}\nscores, each [<weight>*]<name>: {', '.join(TERMS)}\n"
        f"selections: {', '.join(SELECTIONS)}\noptions: {', '.join(OPTIONS)}"
    )


def _wrong(text: str, why: str) -> BadInputError:
    return BadInputError(f"strategy {text.strip()!r}: {why}")


def _number(value: str, text: str, word: str) -> float:
    if not re.fullmatch(r"\d+(\.\d+)?", value):
        raise _wrong(text, f"expected a number in {word!r}, such as 0.5")
    return float(value)


def _read(text: str) -> Arm:
    match = re.fullmatch(r"([^#]+)(?:#(\d+))?", text.strip())
    if match is None:
        raise _wrong(text, "expected words joined by '+', and at most one '#' with a number behind it")
    arm = Arm(draw=int(match[2] or 0))
    for word in match[1].split("+"):
        arm = _with_word(arm, word.strip(), text)
    _check(arm, text)
    return arm


def _with_word(arm: Arm, word: str, text: str) -> Arm:
    """The arm with one word more."""
    name, colon, value = word.partition(":")

    def once(field: str, value: object) -> Arm:
        if getattr(arm, field) != getattr(Arm(), field):
            raise _wrong(text, f"{word!r} comes after a word of the same kind; expected one at most")
        return replace(arm, **{field: value})  # type: ignore[arg-type]

    plain: dict[str, Callable[[], Arm]] = {
        **{known: lambda: once("selection", name) for known in SELECTIONS},
        **{known: lambda: once("weighing", name) for known in WEIGHINGS},
        **{known: lambda: once("space", name) for known in SPACES},
        **{known: lambda: once("combine", name) for known in COMBINES},
        **{known: lambda: once("recipe", name) for known in RECIPES},
        "minmax": lambda: once("minmax", True),
        "randaugment": lambda: once("randaugment", True),
    }
    if name in ("pseudo", "pseudo_repeat"):
        found = once("pseudo", name)
        return replace(found, pseudo_ratio=_number(value, text, word)) if colon else found
    if name == "lambda":
        return once("trade_off", _number(value, text, word))
    if not colon and word in plain:
        return plain[word]()
    if views := re.fullmatch(r"views([1-9]\d*)", word):
        return once("views", int(views[1]))
    weight, star, score = word.rpartition("*")
    if score not in (*TERMS, *WHOLE) or (star and score in WHOLE):
        raise _wrong(text, f"{word!r} is not known")
    if any(score == other for other, _ in arm.terms):
        raise _wrong(text, f"{score!r} stands there twice; give it a weight, as in 2*{score}")
    factor = _number(weight, text, word) if star else 1.0
    return replace(arm, terms=(*arm.terms, (score, factor)))


def _check(arm: Arm, text: str) -> None:
    """Words that would have no effect are refused."""
    if not arm.terms and not arm.selection:
        raise _wrong(text, "expected a score, a selection, or one of " + ", ".join(WHOLE))
    if any(name in WHOLE for name, _ in arm.terms) and (len(arm.terms) > 1 or arm.selection):
        raise _wrong(text, f"{', '.join(WHOLE)} choose by themselves; expected neither scores nor a selection beside them")
    if arm.whole == FULL and (arm.pseudo or arm.views or arm.recipe not in ("", "scratch")):
        raise _wrong(text, f"{FULL} is trained once on all labels; expected only scratch or randaugment beside it")
    if arm.selection and arm.strategy in _WITHOUT_SCORES and arm.terms:
        raise _wrong(text, f"{arm.selection} reads no scores; leave them out, or take k_median, duw or hybrid")
    if arm.selection == "top" and not arm.terms:
        raise _wrong(text, "top takes the highest score first; expected a score beside it")
    if arm.weighing and arm.strategy not in _DUW:
        raise _wrong(text, f"{arm.weighing} weighs the terms of DUW; expected duw or duw_paper beside it")
    if arm.trade_off is not None and arm.strategy not in (*_DUW, Strategy.K_MEDIAN):
        raise _wrong(text, "lambda is a setting of duw, duw_paper and k_median; expected one of them beside it")
    if arm.space and arm.strategy in (Strategy.TOP, Strategy.RANDOM):
        raise _wrong(text, f"{arm.space} is a space for distances; expected a selection that measures them beside it")
    if arm.combine and not arm.weights({COMPOSITE: 1.0}):
        raise _wrong(text, f"{arm.combine} puts scores together; expected a score beside it")
    if arm.minmax and not arm.weights({COMPOSITE: 1.0}):
        raise _wrong(text, "minmax scales scores; expected a score beside it")
