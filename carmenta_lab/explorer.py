"""What would the model see if the budget were another? A panel to pick and slide in a notebook."""

from html import escape
from typing import Any, cast
from uuid import UUID

import ipywidgets as widgets
from ipykernel.zmqshell import ZMQInteractiveShell
from IPython.core.getipython import get_ipython
from IPython.display import display
from sqlalchemy import select

from carmenta_lab.context import (
    BundledCounter,
    Context,
    Searches,
    TokenCounts,
    best_policy,
    gather,
    pack,
    policies,
)
from carmenta_lab.context.material import Material
from carmenta_lab.errors import UsageError
from carmenta_lab.figures.contexts import tokens_by_block
from carmenta_lab.postgres.connect import Database
from carmenta_lab.records import Query
from carmenta_lab.schema.lab.measurements import datasets, loaded_users
from carmenta_lab.schema.product.conversations import conversations

BUDGETS = (50, 100, 200, 300, 500, 800, 1_000, 1_500, 2_000, 3_000, 4_000, 6_000, 8_000, 12_000, 16_000)
LATEST = "the latest"


class Explorer:
    """Pick user, conversation, question and policy, and move the budget: the context is put together anew at once.

    Where nobody can move anything (papermill, a test) it shows the figure of its first context instead. `policy` is a
    name or the path of a file, the best that the user's data allow when not given; `budget` is in tokens, and the
    nearest of `BUDGETS` is taken.

    >>> panel = cl.Explorer(lab, "sample", "nora", "Where did we park the bikes?", budget=500)
    >>> panel.context().tokens <= 500
    True
    """

    def __init__(
        self, database: Database, dataset: str, user: str, question: str, policy: str | None = None, budget: int = 1_000
    ) -> None:
        self._database = database
        self._counts = TokenCounts(BundledCounter())
        self._gathered: dict[tuple[Any, ...], Material] = {}
        with database.owner_session() as session:
            rows = session.execute(
                select(loaded_users.c.external_id, loaded_users.c.user_id)
                .join(datasets, datasets.c.id == loaded_users.c.dataset_id)
                .where(datasets.c.name == dataset)
                .order_by(loaded_users.c.external_id)
            )
            self._users = {str(row.external_id): row.user_id for row in rows}
        if policy is None:
            with database.user_session(self._users[user]) as session:
                policy = best_policy(session, self._users[user])
        wide, half = widgets.Layout(width="98%"), widgets.Layout(width="32%")
        names = sorted({*policies.names(), policy})
        nearest = min(BUDGETS, key=lambda one: (abs(one - budget), one))
        self.user = widgets.Dropdown(options=list(self._users), value=user, description="user", layout=half)
        self.conversation = widgets.Dropdown(options=[LATEST], description="asked in", layout=half)
        self.policy = widgets.Dropdown(options=names, value=policy, description="policy", layout=half)
        self.question = widgets.Text(question, description="question", layout=wide, continuous_update=False)
        self.budget = widgets.SelectionSlider(options=BUDGETS, value=nearest, description="tokens", layout=wide)
        self.page = widgets.HTML(layout=wide)
        first = widgets.HBox([self.user, self.conversation, self.policy])
        self.panel = widgets.VBox([first, self.question, self.budget, self.page])
        self._read_conversations()
        self.user.observe(self._read_conversations, "value")
        for picked in (self.user, self.conversation, self.policy, self.question, self.budget):
            picked.observe(self.show, "value")
        self.show()

    def context(self) -> Context:
        """The context of what is picked; UsageError as of `assemble`."""
        policy = policies.load(self.policy.value)
        return pack(self._material(), policy, self.budget.value, self._counts, policies.title(self.policy.value))

    def show(self, _: object = None) -> None:
        """Put the context together and show it, or the sentence that says why there is none."""
        try:
            self.page.value = self.context()._repr_html_()
        except UsageError as error:
            self.page.value = f"<em>{escape(str(error))}</em>"

    def _material(self) -> Material:
        """What the context is made of: read and searched once, however often the budget moves."""
        key = (self.user.value, self.conversation.value, self.question.value, self.policy.value)
        if key not in self._gathered:
            query = Query("asked", self._users[self.user.value], self.question.value)
            policy = policies.load(self.policy.value)
            place = None if self.conversation.value == LATEST else cast("UUID", self.conversation.value)
            with self._database.user_session(query.user_id) as session:
                searches = Searches(session, query)
                found = gather(searches, policy, max(BUDGETS), self._counts.counter.name, place)
                self._gathered[key] = found.material
        return self._gathered[key]

    def _read_conversations(self, _: object = None) -> None:
        c = conversations.c
        user = self._users[self.user.value]
        with self._database.user_session(user) as session:
            rows = session.execute(
                select(c.external_id, c.title, c.id)
                .where(c.user_id == user, c.deleted_at.is_(None))
                .order_by(c.last_message_at.desc().nulls_last(), c.id.desc())
            ).all()
        named = [
            (f"{row.external_id or row.id}: {row.title}" if row.title else str(row.external_id), row.id) for row in rows
        ]
        self.conversation.options = [(LATEST, LATEST), *named]

    def _ipython_display_(self) -> None:
        display(self.panel if interactive() else tokens_by_block(self.context()))  # type: ignore[no-untyped-call]


def interactive() -> bool:
    """Whether somebody sits before this notebook: who executes one from a program allows no input."""
    shell = get_ipython()
    if not isinstance(shell, ZMQInteractiveShell):
        return False
    asked: dict[str, Any] = shell.get_parent()  # type: ignore[no-untyped-call]  # the message that asked to execute
    return bool(asked.get("content", {}).get("allow_stdin"))
