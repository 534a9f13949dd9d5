"""The explorer re-assembles when something is picked; the figures of policies are readable."""

import pandas as pd
import pytest
from test_figures import problems

from carmenta_lab import Explorer, figures
from carmenta_lab.errors import UsageError
from carmenta_lab.experiment.contexts import compare_contexts, evidence_by_history
from carmenta_lab.explorer import interactive
from carmenta_lab.postgres import Database


def test_whatever_is_picked_the_context_follows(sample: Database) -> None:
    explorer = Explorer(sample, "sample", "nora", "What is Saga allergic to?", "mission_order", 500)
    first = explorer.page.value
    assert "of 500 tokens, policy mission_order" in first
    explorer.budget.value = 1_000
    assert "of 1000 tokens, policy mission_order" in explorer.page.value
    explorer.policy.value = "retrieved_first"
    assert "policy retrieved_first" in explorer.page.value
    before = explorer.context()
    explorer.user.value = "tomasz"
    assert explorer.context() != before
    label, key = explorer.conversation.options[-1]
    explorer.policy.value = "recent_only"
    latest = explorer.context()
    explorer.conversation.value = key
    assert explorer.context() != latest
    assert label.startswith("tomasz-")
    explorer.question.value = " "
    assert "the query is empty" in explorer.page.value


def test_a_program_gets_the_figure_and_no_panel(sample: Database, capsys: pytest.CaptureFixture[str]) -> None:
    assert not interactive()
    Explorer(sample, "sample", "nora", "What is Saga allergic to?")._ipython_display_()
    assert "Figure(" in capsys.readouterr().out


def test_the_figures_of_policies_are_readable(sample: Database) -> None:
    names = ["everything", "recent_only", "retrieved_first"]
    compared = compare_contexts(sample, "sample", policies=names, budgets=[300, 1_000], questions_drawn=12)
    assert problems(figures.evidence_by_budget(compared)) == []
    history = evidence_by_history(sample, "sample", names, 1_000, (20, 100), 6)
    assert set(history.messages) == {20, 100}
    assert history["mean"].between(0, 1).all()
    assert problems(figures.evidence_by_history(history, 1_000)) == []
    with pytest.raises(UsageError, match="no history to draw"):
        figures.evidence_by_history(pd.DataFrame(columns=history.columns), 1_000)
