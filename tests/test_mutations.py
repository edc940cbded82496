"""The list of mutations fits the sources: each has the text that it changes, once, and names tests that exist."""

from pathlib import Path

import pytest

from tests.mutations import MUTATIONS, Mutation, misfit_of

TESTS = Path(__file__).parent


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_a_mutation_fits_the_sources(mutation: Mutation) -> None:
    assert misfit_of(mutation) == ""
    for test in mutation.tests:
        file, _, name = test.partition("::")
        assert f"def {name.partition('[')[0]}(" in (TESTS / file).read_text(), test


def test_their_names_are_different_and_they_change_something() -> None:
    assert len({mutation.name for mutation in MUTATIONS}) == len(MUTATIONS) >= 30
    assert all(mutation.old != mutation.new for mutation in MUTATIONS)
