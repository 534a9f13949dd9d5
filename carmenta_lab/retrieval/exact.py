"""Any retriever without its approximate indexes: what their recall is measured against."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Select
from sqlalchemy.orm import Session

from carmenta_lab.records import Query
from carmenta_lab.retrieval.retriever import Limit, Retriever, exactly


@dataclass(frozen=True)
class Exactly:
    """The retriever, or the fusion of several, on the route that finds all there is."""

    retriever: Retriever

    @property
    def units(self) -> tuple[str, ...]:
        """Those of the retriever."""
        return self.retriever.units

    @property
    def model(self) -> str | None:
        """That of the retriever."""
        return self.retriever.model

    def route(self, session: Session, query: Query) -> str:
        """The retriever's, with `exact` for every approximate part."""
        return exactly(self.retriever.route(session, query))

    def statement(self, route: str, limit: Limit = None) -> Select[Any]:
        """That of the retriever."""
        return self.retriever.statement(route, limit)

    def settings(self, route: str) -> Mapping[str, str]:
        """Those of the retriever."""
        return self.retriever.settings(route)
