"""What a task returns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

from prompt_keda.report import as_json

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

R = TypeVar("R", bound="DataclassInstance", covariant=True)


@dataclass(frozen=True)
class Result(Generic[R]):
    """What a task returns: a header, an exit code, and one record, whose fields are the parts of its JSON document.

    A record and never a mapping: what shows it, and what goes on with it, is checked against the record's fields.
    """

    task: str
    environment: str
    header: str
    parts: R
    exit_code: int = 0

    def to_json(self, began: as_json.Began) -> str:
        """Return the JSON document."""
        parts = {"header": self.header, **as_json.as_plain(self.parts)}
        return as_json.document(self.task, self.environment, self.exit_code, began, parts)
