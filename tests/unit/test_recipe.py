"""The recipe's digest: equal recipes are equal, and everything that matters makes it another."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onebaton.model import Recipe

RECIPE = Recipe(
    version="6.10.0",
    platform="podman",
    base="mmdebstrap:bookworm",
    packages=(("opennebula", "6.10.0-1"), ("opennebula-flow", "6.10.0-1")),
    ingredients=(("node.pkr.hcl", "aa"), ("scripts/00-a", "bb")),
)
_PAIRS = st.lists(st.tuples(st.text(), st.text()), unique_by=lambda pair: pair[0]).map(tuple)
_RECIPES = st.builds(Recipe, st.text(), st.text(), st.text(), _PAIRS, _PAIRS)


@pytest.mark.parametrize(
    "other",
    [
        replace(RECIPE, version="6.10.5"),
        replace(RECIPE, platform="aws"),
        replace(RECIPE, base="mmdebstrap:trixie"),
        replace(RECIPE, packages=(("opennebula", "6.10.0-2"), ("opennebula-flow", "6.10.0-1"))),
        replace(RECIPE, packages=RECIPE.packages[:1]),
        replace(RECIPE, ingredients=(("node.pkr.hcl", "aa"), ("scripts/00-a", "cc"))),
        replace(RECIPE, ingredients=(("node.pkr.hcl", "aa"), ("scripts/01-a", "bb"))),
        replace(RECIPE, ingredients=RECIPE.ingredients[:1]),
    ],
)
def test_every_part_makes_another_digest(other: Recipe):
    assert other.digest != RECIPE.digest


@given(_RECIPES)
def test_order_does_not_matter(recipe: Recipe):
    turned = replace(recipe, packages=recipe.packages[::-1], ingredients=recipe.ingredients[::-1])
    assert turned.digest == recipe.digest


@given(_RECIPES, _RECIPES)
def test_different_recipes_have_different_digests(one: Recipe, other: Recipe):
    def parts(recipe: Recipe) -> tuple[object, ...]:
        return (
            recipe.version,
            recipe.platform,
            recipe.base,
            frozenset(recipe.packages),
            frozenset(recipe.ingredients),
        )

    assert (one.digest == other.digest) == (parts(one) == parts(other))
