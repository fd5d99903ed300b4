"""The catalog: every model the workbench knows, by family and by name."""

from mltrainer.errors import BadInput, UnknownName
from mltrainer.models import clusters, deep, ensembles, gaussian, linear, neighbors, neural, series, special, svm, trees
from mltrainer.models.base import Family, ModelSpec

FAMILIES: dict[str, Family] = {
    room.FAMILY.key: room.FAMILY
    for room in (linear, trees, ensembles, neural, svm, series, clusters, neighbors, gaussian, special, deep)
}
NAMED = tuple(key for key, family in FAMILIES.items() if family.origin == "named")
"""The families that run where none is asked for; the others are asked for by their key."""
_SPECS = {row.name: row for family in FAMILIES.values() for row in family.specs}


def spec(name: str) -> ModelSpec:
    """Look a model up by its exact name.

    >>> spec("KNeighborsRegressor_5").family
    'neighbors'
    """
    if name not in _SPECS:
        raise UnknownName.of("model", name, _SPECS)
    return _SPECS[name]


def claimed(row: ModelSpec) -> ModelSpec:
    """The row itself; `BadInput` where it bears the name of an entry that is configured otherwise."""
    entry = _SPECS.get(row.name, row)
    if row.decides != entry.decides:
        raise BadInput(
            f"{row.name} is a name of the catalog, and this model is configured otherwise, so its result would pass for"
            f" that of the entry; give it a name of its own, or ask mt.model({row.name!r}, {{parameter: value}})"
        )
    return row


def specs(family: str | None = None) -> list[ModelSpec]:
    """All named rows, or those of one family, in the order of the catalog; of an added family by its key only.

    >>> len(specs("neighbors")), len(specs("deep"))
    (5, 4)
    """
    if family is None:
        return [row for key in NAMED for row in FAMILIES[key].specs]
    if family not in FAMILIES:
        raise UnknownName.of("family", family, FAMILIES)
    return list(FAMILIES[family].specs)


def every() -> list[ModelSpec]:
    """All rows, the added ones too."""
    return list(_SPECS.values())
