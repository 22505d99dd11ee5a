"""What to try, from the evidence of a stage's own counts and numbers. Pure; read by `stage` for the report."""

from collections.abc import Mapping

__all__ = ["advise"]

MANY = 0.05


def advise(counts: Mapping[str, int], metrics: Mapping[str, float]) -> tuple[str, ...]:
    """Sentences that name the evidence and the next thing to try; empty where nothing stands out."""
    found: list[str] = []
    rows = counts["rowsIn"]
    if counts["cut"] > MANY * rows:
        found.append(f"{counts['cut']} of {rows} rows exceed maxLength and lost the end of an answer; raise it")
    if counts["rejected.promptTooLong"]:
        found.append(
            f"{counts['rejected.promptTooLong']} of {rows} rows were left out, because their prompt fills maxLength"
        )
    if counts["duplicates"] > MANY * rows:
        found.append(f"{counts['duplicates']} of {rows} rows are exact copies of others; they count several times")
    accuracy = metrics.get("rewards/accuracies")
    if accuracy is not None and accuracy < 0.6:
        found.append(
            f"at the end the model tells chosen from rejected in {accuracy:.0%} of pairs only; "
            "train longer, raise learningRate, or check the labels"
        )
    return tuple(found)
