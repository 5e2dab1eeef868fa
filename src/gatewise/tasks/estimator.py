"""The base of every estimator: scikit-learn's contract, and models saved without a pickle.

An estimator is a dataclass whose fields are its settings. The constructor only stores them;
``fit`` checks them all and returns the estimator; what is learned ends in an underscore.
scikit-learn itself is not needed: with it, ``clone``, pipelines and searches work.
"""

from __future__ import annotations

import dataclasses
import inspect
from abc import ABC, abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from gatewise.errors import (
    GatewiseError,
    InvalidSettingsError,
    InvalidStateError,
    InvalidValueError,
)
from gatewise.tasks import saving
from gatewise.tasks.course import Course
from gatewise.tasks.settings import checked_values
from gatewise.training import Mode, is_first_process

if TYPE_CHECKING:
    import pandas as pd

# Not typing.Self: beartype, which checks annotations in the tests, does not know it in methods.
Estimator = TypeVar("Estimator", bound="AbstractEstimator")


@dataclasses.dataclass(frozen=True)
class Example:
    """Data that ship with gatewise.

    Args:
        name: What they are, in words: ``an embedded series of 2,284 rows``.
        X: As ``fit`` takes it.
        y: As ``fit`` takes it.
        settings: Fields that suit them.
    """

    name: str
    X: Any
    y: Any = None
    settings: dict[str, Any] = dataclasses.field(default_factory=dict)


class AbstractEstimator(ABC):
    """What all estimators share; subclasses are dataclasses with ``eq=False, repr=False``."""

    _held_out: Any = None
    """What the report shows, until the model is saved and loaded."""

    task: ClassVar[str]
    """The name of the task in the shell and in saved models."""

    @property
    @abstractmethod
    def headline(self) -> tuple[str, Mode]:
        """The score by which it is compared with its baselines, and whether lower is better."""

    @classmethod
    @abstractmethod
    def example(cls) -> Example:
        """Return data that ship with gatewise, for a first try without any of one's own."""

    @abstractmethod
    def fit(
        self: Estimator,
        X: Any = None,
        y: Any = None,
        *,
        validation: Any = None,
        run_dir: str | Path | None = None,
        resume: bool = False,
        progress: bool = True,
    ) -> Estimator:
        """Learn from data and return the estimator."""

    @abstractmethod
    def predict(self, X: Any) -> Any:
        """Return predictions for new data."""

    @abstractmethod
    def predict_table(self, X: Any) -> pd.DataFrame:
        """Return predictions for new data as a table, for files and the shell."""

    @abstractmethod
    def evaluate(self, X: Any) -> dict[str, dict[str, float]]:
        """Return named scores of the model beside those of naive baselines."""

    @abstractmethod
    def write_report(self, path: str | Path, X: Any = None) -> Path:
        """Write scores, training and pictures as one page."""

    @abstractmethod
    def setting_faults(self) -> list[GatewiseError]:
        """Contradictions between fields that are each valid alone."""

    @abstractmethod
    def _write(self, directory: Path) -> None:
        """Write what was learned into an empty directory."""

    @abstractmethod
    def _read(self, directory: Path) -> None:
        """Take what was learned from a directory."""

    def get_params(self, deep: bool = True) -> dict[str, Any]:  # noqa: ARG002
        """Return all fields by name.

        Args:
            deep: Without effect; scikit-learn passes it.
        """
        return {name: getattr(self, name) for name in self._field_names()}

    def set_params(self: Estimator, **params: Any) -> Estimator:
        """Set fields by name and return the estimator.

        Raises:
            InvalidValueError: A name is no field.
        """
        for name, value in params.items():
            if name not in self._field_names():
                raise InvalidValueError(
                    f"{type(self).__name__}.set_params",
                    f"one of {', '.join(self._field_names())}",
                    f"'{name}'",
                )
            setattr(self, name, value)
        return self

    def save(self, directory: str | Path) -> Path:
        """Write the fitted estimator as a directory, whole or not at all.

        Args:
            directory: Where to; a model that is there is replaced.

        Returns:
            The directory.

        Raises:
            InvalidStateError: The estimator is not fitted.
            InvalidValueError: There is something else than a saved model.
            InvalidFileError: It cannot be written; what was there is untouched.
        """
        self._check_fitted("save")
        saving.write_model(Path(directory), self.task, self.get_params(), self._write_all)
        return Path(directory)

    @classmethod
    def load(cls: type[Estimator], directory: str | Path) -> Estimator:
        """Return the estimator that ``save`` wrote; nothing in the directory is executed.

        Raises:
            InvalidFileError: The directory is no saved model of this task, is damaged, or was
                written by a newer version.
        """
        path = Path(directory)
        fields = saving.read_fields(path, cls.task)
        estimator = cls(**saving.known_fields(path, fields, cls._field_names()))
        with saving.damage_named(path):
            estimator._read(path)
        return estimator

    def _finish(self: Estimator, held_out: Any, directory: Path | None) -> Estimator:
        """End a fit: keep what the report shows, and save if there is a run directory."""
        self._held_out = held_out
        if directory is not None and is_first_process():
            self.save(directory)
        return self

    def _write_all(self, directory: Path) -> None:
        self._write(directory)
        if self._held_out is not None:
            self.write_report(directory / saving.REPORT)

    def _check_shown(self, held_out: object, data: str) -> None:
        """Refuse a report without data: a loaded model holds none."""
        if held_out is None:
            raise InvalidValueError(
                f"{type(self).__name__}.write_report: X",
                data,
                "none, and a loaded model holds no data",
                "Pass what it should be shown on.",
            )

    @property
    def _fitted(self) -> bool:
        return hasattr(self, "network_")

    def __sklearn_is_fitted__(self) -> bool:
        return self._fitted

    def __sklearn_tags__(self) -> Any:
        from sklearn.utils import InputTags, Tags, TargetTags

        return Tags(
            estimator_type=None,
            target_tags=TargetTags(required=False),
            input_tags=InputTags(two_d_array=False, string=True, allow_nan=True),
        )

    def __repr__(self) -> str:
        shown = [
            f"{field.name}={getattr(self, field.name)!r}"
            for field in dataclasses.fields(self)  # pyright: ignore[reportArgumentType]
            if getattr(self, field.name) != field.default
        ]
        return f"{type(self).__name__}({', '.join(shown)})"

    def _validated(self: Estimator) -> Estimator:
        """Return an unfitted copy whose fields have their declared types, or raise all faults."""
        copy = type(self)(**checked_values(self))
        InvalidSettingsError.raise_any(type(self).__name__, copy.setting_faults())
        return copy

    def _adopt_course(self, course: Course) -> None:
        """Take how the fit went: ``history_``, ``best_epoch_``, ``scores_`` and ``split_``."""
        self.history_, self.best_epoch_ = course.history, course.best_epoch
        self.scores_, self.split_ = course.scores, course.split

    @property
    def _course(self) -> Course:
        return Course(self.history_, self.best_epoch_, self.scores_, self.split_)

    def _check_fitted(self, method: str) -> None:
        if not self._fitted:
            name = type(self).__name__
            raise InvalidStateError(
                f"{name}.{method}",
                "a fitted estimator",
                "one that has learned nothing yet",
                f"Call fit first, or {name}.load for a saved model.",
            )

    @classmethod
    def _field_names(cls) -> tuple[str, ...]:
        return tuple(inspect.signature(cls).parameters)
