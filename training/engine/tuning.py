"""A search for good settings: short runs, judged on val, the hopeless ones ended early.

A search is a folder: a journal of its trials, and a run for each. Killed at any moment, it goes on
with the trial that was under way, from that trial's own checkpoint. It sees train and val alone.
"""

import csv
import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, Trial, TrialState

from training.engine.checkpoints import CHECKPOINT, Run, leased
from training.engine.config import BALANCES, Folders, Machine, TrainingConfig, check_config
from training.engine.datasets import TUNING_SPLITS, data_fingerprint, read_eyes
from training.engine.errors import TrainingError
from training.engine.initial import BEST
from training.engine.labels import replaced
from training.engine.recipe import train

JOURNAL, TABLE = "journal.log", "trials.csv"
FINISHED = (TrialState.COMPLETE, TrialState.PRUNED)
OUTCOMES = {TrialState.COMPLETE: "finished", TrialState.PRUNED: "ended early"}

Say = Callable[[str], None]
Suggest = Callable[[Trial], Any]

# Every setting that can be searched, and where.
SPACE: Mapping[str, Suggest] = {
    "learning_rate": lambda trial: trial.suggest_float("learning_rate", 1e-4, 5e-3, log=True),
    "weight_decay": lambda trial: trial.suggest_float("weight_decay", 1e-3, 0.2, log=True),
    "balance": lambda trial: trial.suggest_categorical("balance", BALANCES),
    "painted_share": lambda trial: trial.suggest_float("painted_share", 0.0, 0.8, step=0.1),
    "dropout": lambda trial: trial.suggest_float("dropout", 0.0, 0.5, step=0.05),
    "smoothing": lambda trial: trial.suggest_float("smoothing", 0.0, 0.1, step=0.01),
    "loss": lambda trial: trial.suggest_categorical("loss", ("ordinal", "ordinal+mse")),
    "ema_decay": lambda trial: trial.suggest_float("ema_decay", 0.98, 0.9995),
}
USUAL = ("learning_rate", "weight_decay", "balance", "painted_share", "dropout", "smoothing")


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """A trial: its settings, the best figure that it reached, and how it ended."""

    number: int
    figure: float
    epochs: int
    outcome: str
    settings: dict[str, Any]


def search(
    config: TrainingConfig,
    folders: Folders,
    *,
    trials: int,
    names: Sequence[str] = USUAL,
    machine: Machine | None = None,
    say: Say = print,
) -> list[Outcome]:
    """Search until `trials` of them are done, in `folders.run`. Returns all, the best first.

    `config` gives what is not searched, and how many epochs a trial lasts; its first settings are
    tried first. Raises RunBusy when another process is at the search, and TrainingError when the
    folder holds a search of other settings.
    """
    _check_asked(names, trials)
    check_config(config)
    with leased(folders.run):
        study = _open_study(folders, config, names)
        _take_up_again(study)
        _clear_weights(study, folders.run)
        while (done := len(study.get_trials(states=FINISHED))) < trials:
            # Seeded by what is done, so that a search that was killed draws what it would have.
            study.sampler = optuna.samplers.TPESampler(seed=config.seed + done)
            study.optimize(
                lambda trial: _try(trial, config, folders, names, machine, say), n_trials=1
            )
            _clear_weights(study, folders.run)
            say(f"{done + 1} of {trials} trials done, best figure {_best(study):.4f}")
        told = outcomes(study)
        _write_table(folders.run / TABLE, told)
    return told


def outcomes(study: optuna.Study) -> list[Outcome]:
    """List a search's finished trials, the best first."""
    told = [
        Outcome(
            number=trial.number,
            figure=_reached(trial),
            epochs=len(trial.intermediate_values),
            outcome=OUTCOMES[trial.state],
            settings=dict(trial.params),
        )
        for trial in study.get_trials(states=FINISHED)
    ]
    return sorted(told, key=lambda each: (-each.figure, each.number))


def table(told: Sequence[Outcome]) -> str:
    """Write the trials as a table for a terminal."""
    lines = ["trial  figure  epochs  ended        settings"]
    for each in told:
        settings = " ".join(f"{name}={_short(value)}" for name, value in each.settings.items())
        lines.append(
            f"{each.number:5}  {each.figure:.4f}  {each.epochs:6}  {each.outcome:<11}  {settings}"
        )
    return "\n".join(lines)


def _try(
    trial: Trial,
    config: TrainingConfig,
    folders: Folders,
    names: Sequence[str],
    machine: Machine | None,
    say: Say,
) -> float:
    """Train a trial's configuration. Returns the best figure of its epochs."""
    chosen = replace(config, **{name: SPACE[name](trial) for name in names})
    reported: set[int] = set()

    def report(run: Run) -> None:
        for epoch in run.history:
            if epoch["epoch"] not in reported:
                trial.report(epoch.get("figure", 0.0), int(epoch["epoch"]))
                reported.add(epoch["epoch"])
        if trial.should_prune():
            raise optuna.TrialPruned

    place = replace(folders, run=folders.run / _folder_of(trial))
    run = train(
        chosen,
        place,
        machine=machine,
        say=lambda line: say(f"trial {trial.number}: {line}"),
        after_epoch=report,
    )
    return run.best_figure if math.isfinite(run.best_figure) else 0.0


def _open_study(folders: Folders, config: TrainingConfig, names: Sequence[str]) -> optuna.Study:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    journal = folders.run / JOURNAL
    _drop_torn_line(journal)
    storage = JournalStorage(JournalFileBackend(str(journal)))
    study = optuna.create_study(
        study_name="search",
        storage=storage,
        direction="maximize",
        load_if_exists=True,
        pruner=optuna.pruners.MedianPruner(n_startup_trials=4, n_warmup_steps=1),
    )
    eyes = [eye for eye in read_eyes(folders.data) if eye.split in TUNING_SPLITS]
    asked = {"names": list(names), "config": repr(config), "data": data_fingerprint(eyes)}
    if "asked" not in study.user_attrs:  # new, or killed before it had begun
        study.enqueue_trial({name: getattr(config, name) for name in names}, skip_if_exists=True)
        study.set_user_attr("asked", asked)
    elif study.user_attrs["asked"] != asked:
        raise TrainingError(
            f"The search {folders.run.name} was begun with other options or other eyes.",
            "Go on with the same ones or choose another name.",
        )
    return study


def _drop_torn_line(journal: Path) -> None:
    """Cut off what a power cut left of a line. Pre-state: the folder is leased."""
    if journal.is_file():
        whole = journal.read_bytes().rpartition(b"\n")
        if whole[2]:
            os.truncate(journal, len(whole[0] + whole[1]))


def _take_up_again(study: optuna.Study) -> None:
    """Queue the trials that a killed search left under way. Pre-state: the folder is leased."""
    for trial in study.get_trials(states=(TrialState.RUNNING,)):
        study.tell(trial.number, state=TrialState.FAIL)
    settled = {_folder_of(t) for t in study.get_trials() if t.state is not TrialState.FAIL}
    for trial in study.get_trials(states=(TrialState.FAIL,)):
        if (folder := _folder_of(trial)) not in settled:
            drawn = set(trial.params) == set(study.user_attrs["asked"]["names"])
            # One that was killed while it drew has not trained yet, so it draws again.
            params = trial.params if drawn else trial.system_attrs.get("fixed_params", {})
            study.enqueue_trial(params, user_attrs={"folder": folder})
            settled.add(folder)


def _folder_of(trial: Trial | FrozenTrial) -> str:
    """Name a trial's run; one that is taken up again keeps that of its first attempt."""
    return trial.user_attrs.get("folder", f"trial-{trial.number}")


def _clear_weights(study: optuna.Study, folder: Path) -> None:
    """Remove the weights of trials that are done: a search of large networks would fill a disk."""
    for trial in study.get_trials(states=FINISHED):
        for name in (CHECKPOINT, BEST):
            (folder / _folder_of(trial) / name).unlink(missing_ok=True)


def _reached(trial: FrozenTrial) -> float:
    return max(trial.intermediate_values.values(), default=trial.value or 0.0)


def _best(study: optuna.Study) -> float:
    return max(_reached(trial) for trial in study.get_trials(states=FINISHED))


def _write_table(path: Path, told: Sequence[Outcome]) -> None:
    names = sorted({name for each in told for name in each.settings})
    with replaced(path) as file:
        writer = csv.writer(file)
        writer.writerow(["trial", "figure", "epochs", "outcome", *names])
        for each in told:
            settings = [each.settings.get(name, "") for name in names]
            writer.writerow([each.number, each.figure, each.epochs, each.outcome, *settings])


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _check_asked(names: Sequence[str], trials: int) -> None:
    if trials < 1:
        raise TrainingError(f"A search of {trials} trials finds nothing.", "Give at least 1.")
    unknown = [name for name in names if name not in SPACE]
    if unknown or not names:
        raise TrainingError(
            f"{unknown[0]!r} can't be searched." if unknown else "Nothing is searched.",
            f"Use some of {', '.join(SPACE)}.",
        )
