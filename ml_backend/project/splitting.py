"""The validation split of a project: a rule for each sequence, decided when it is first met, which then stays."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from label_config.settings.spec import Spec
from label_config.values import Float32Array, FrameKey, ImageRef, IntArray
from ml_backend.labels.split import SplitRule, choose_rule
from ml_backend.project.frame_pictures import Pictures
from ml_backend.project.round_state import RoundState
from ml_backend.project.thumbnail import thumbnail
from ml_backend.recordings import UnreadableImageError
from ml_backend.store import frames
from ml_backend.store.frames import SequenceRow
from ml_backend.store.workspace import Workspace

#: Of projects that are older than rules for each sequence.
BEFORE_RULES = SplitRule(0.1, 50, 10, "as set up")
#: Pairs of neighbours that are compared; fewer than ``LEAST`` say nothing.
PAIRS, LEAST = 20, 5
#: Neighbours are nearly copies when they differ less than this share of what pictures far apart differ.  On videos of mice and
#: of a person up to five frames apart 0.06 to 0.29; on pictures that were extracted for labelling 0.38 and 0.94.
ALIKE_BELOW = 1 / 3
#: Without pictures: numbers further apart than this belong to pictures that were picked out of a video.
FAR_APART = 10


@dataclass(frozen=True)
class Evidence:
    """Whether neighbours in a sequence are nearly copies of each other, and how that is known."""

    alike: bool
    why: str


VIDEO = Evidence(True, "they are frames of a video")


def evidence_of_pictures(spec: Spec, pictures: Iterable[tuple[FrameKey, ImageRef]]) -> Evidence | None:
    """Compare neighbours with pictures far apart in the same sequence; None when too few can be read."""
    by_sequence: dict[str, list[tuple[int, ImageRef]]] = {}
    for key, ref in pictures:
        by_sequence.setdefault(key.sequence, []).append((key.index, ref))
    triples = _triples([[ref for _, ref in sorted(of, key=lambda item: item[0])] for of in by_sequence.values()])
    reader = Pictures.of_spec(spec)
    try:
        near, far = _distances(reader, triples)
    finally:
        reader.close()
    if len(near) < LEAST:
        return None
    ratio = float(np.median(near)) / max(float(np.median(far)), 1e-9)
    return Evidence(
        ratio < ALIKE_BELOW,
        f"neighbouring pictures differ {ratio:.0%} as much as pictures far apart"
        + (": nearly copies" if ratio < ALIKE_BELOW else ""),
    )


def _triples(sequences: Sequence[Sequence[ImageRef]]) -> list[tuple[ImageRef, ImageRef, ImageRef]]:
    """(picture, its neighbour, one half the sequence away), evenly over all sequences that are long enough."""
    found = [(of[i], of[i + 1], of[(i + len(of) // 2) % len(of)]) for of in sequences if len(of) > 4 for i in range(len(of) - 1)]
    if len(found) <= PAIRS:
        return found
    return [found[i] for i in np.linspace(0, len(found) - 1, PAIRS).astype(int)]


def _distances(reader: Pictures, triples: Sequence[tuple[ImageRef, ImageRef, ImageRef]]) -> tuple[list[float], list[float]]:
    """Distances to the neighbour and to the far picture, of the triples that can be read.

    Where none of the first few can be read, the others are not waited for.
    """
    near: list[float] = []
    far: list[float] = []
    for tried, triple in enumerate(triples):
        if tried >= LEAST and not near:
            break
        try:
            this, next_, other = (_described(reader, ref) for ref in triple)
        except UnreadableImageError:
            continue
        near.append(float(np.linalg.norm(this - next_)))
        far.append(float(np.linalg.norm(this - other)))
    return near, far


def _described(reader: Pictures, ref: ImageRef) -> Float32Array:
    return thumbnail(reader.read(ref))


def evidence_of_numbers(numbers: Mapping[str, IntArray]) -> Evidence:
    """By the frame numbers of each sequence alone; consecutive ones may be a video, which is the safe side."""
    steps = [np.diff(np.unique(of)) for of in numbers.values()]
    every = np.concatenate(steps) if steps else np.zeros(0)
    if not len(every) or float(np.median(every)) <= FAR_APART:
        return Evidence(True, "their numbers follow one another")
    return Evidence(False, f"their numbers lie {float(np.median(every)):.0f} apart")


def decide_rules(
    spec: Spec, numbers: Mapping[str, IntArray], evidence: Evidence, total: int | None = None
) -> dict[str, SplitRule]:
    """Sequence → rule, for frame numbers (n,) of each sequence; what parallax.yaml sets counts as it stands there.

    total  frames of the whole project, None = these
    """
    count = sum(len(of) for of in numbers.values()) if total is None else total
    return {
        sequence: _as_set(choose_rule(count, of, alike=evidence.alike, wanted=spec.gate.min_frames, why=evidence.why), spec)
        for sequence, of in numbers.items()
    }


def _as_set(rule: SplitRule, spec: Spec) -> SplitRule:
    return replace(rule, **spec.validation.model_dump(exclude_none=True))


def rules(workspace: Workspace) -> dict[str, SplitRule]:
    """Sequence → rule, of every sequence that has frames or a rule."""
    return _rules(workspace.spec, frames.list_sequences(workspace.store), frames.sequences_with_frames(workspace.store))


def rules_of(now: RoundState) -> dict[str, SplitRule]:
    """:func:`rules` from what was read already."""
    return _rules(now.spec, now.sequences, {row.key.sequence for row in now.frames.values()})


def _rules(spec: Spec, noted: Mapping[str, SequenceRow], with_frames: Iterable[str]) -> dict[str, SplitRule]:
    found = {name: _as_set(BEFORE_RULES, spec) for name in with_frames}
    return found | {name: SplitRule.from_json(row.split) for name, row in noted.items() if row.split is not None}


def note_rules(workspace: Workspace, decided: Mapping[str, SplitRule]) -> None:
    """Keep these rules of sequences that have none and no frames yet."""
    known = rules(workspace)
    for sequence, rule in decided.items():
        if sequence not in known:
            frames.save_split(workspace.store, sequence, rule.to_json())


def split_of(workspace: Workspace, new: Mapping[str, IntArray]) -> dict[FrameKey, str]:
    """Frame → its part, of new frame numbers (n,) of each sequence.

    A sequence that is met for the first time gets its rule by what is known of the others, else by its numbers.
    """
    known = rules(workspace)
    fresh = {sequence: of for sequence, of in new.items() if sequence not in known}
    if fresh:
        of_others = list(known.values())
        evidence = Evidence(of_others[-1].block_frames > 1, of_others[-1].why) if of_others else evidence_of_numbers(fresh)
        total = frames.count(workspace.store) + sum(len(of) for of in new.values())
        note_rules(workspace, decide_rules(workspace.spec, fresh, evidence, total))
        known = rules(workspace)
    seed = workspace.project.seed
    return {
        FrameKey(sequence, int(index)): str(split)
        for sequence, of in new.items()
        for index, split in zip(of.tolist(), known[sequence].of(sequence, of, seed), strict=True)
    }


def in_words(decided: Mapping[str, SplitRule], numbers: Mapping[str, IntArray], seed: int) -> str:
    """What the split of these frames will be, and why, for a person."""
    parts = [decided[sequence].of(sequence, of, seed) for sequence, of in numbers.items()]
    every = np.concatenate(parts) if parts else np.zeros(0, dtype="<U5")
    count = {part: int((every == part).sum()) for part in ("train", "val", "guard")}
    rule = next(iter(decided.values()))
    if rule.block_frames == 1:
        how = "one by one"
    else:
        how = f"in blocks of {rule.block_frames} frame numbers, with {count['guard']} frames beside them left out"
    return (
        f"validation: {count['val']} of {len(every)} frames measure the model and are never learnt from, {how}, as {rule.why}; "
        f"{count['train']} are left to learn from (`validation` in parallax.yaml; frames that are known already keep their part)"
    )
