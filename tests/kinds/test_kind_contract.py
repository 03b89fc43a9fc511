"""The contract, for the installed kinds by their tags and for a kind of another package."""

from __future__ import annotations

from answer_kind import ANSWER_PLUGINS
from kind_contract import KindContract
from test_spans_contract import SpansContract

from ml_backend.core import registry
from ml_backend.kinds.base import kind, kinds_by_tag

TEXT = '<Text name="text" value="$text"/>'
LABELS = "".join(f'<Choice value="{label}"/>' for label in ("fruit", "metal", "animal"))
TREE = (
    '<Choice value="food"><Choice value="fruit"/><Choice value="bread"/></Choice>'
    '<Choice value="metal"><Choice value="iron"/></Choice>'
)


class TestChoices(KindContract):
    kind = kind("choices")
    config = f'<View>{TEXT}<Choices name="control" toName="text">{LABELS}</Choices></View>'
    values = (("fruit",), ("metal",), ("animal",))


class TestSeveralChoices(KindContract):
    kind = kind("choices")
    config = f'<View>{TEXT}<Choices name="control" toName="text" choice="multiple">{LABELS}</Choices></View>'
    values = (("fruit",), ("fruit", "metal"), ("animal",))


class TestNestedChoices(KindContract):
    kind = kind("choices")
    config = f'<View>{TEXT}<Choices name="control" toName="text" allowNested="true">{TREE}</Choices></View>'
    values = (("food > fruit",), ("food > bread",), ("metal > iron",))


class TestRating(KindContract):
    kind = kind("choices")
    config = f'<View>{TEXT}<Rating name="control" toName="text" maxRating="4"/></View>'
    values = (("1",), ("2",), ("4",))


class TestTaxonomy(KindContract):
    kind = kind("choices")
    config = f'<View>{TEXT}<Taxonomy name="control" toName="text">{TREE}</Taxonomy></View>'
    values = (("food", "food > fruit"), ("food",), ("metal", "metal > iron"))


class TestPairwise(KindContract):
    kind = kind("choices")
    config = (
        '<View><Pairwise name="control" toName="a,b"/><Text name="a" value="$a"/><Text name="b" value="$b"/></View>'
    )
    values = (("left",), ("right",))


class TestKindOfAnotherPackage(KindContract):
    kind = ANSWER_PLUGINS["kind.answer"]
    config = f'<View>{TEXT}<TextArea name="control" toName="text"/></View>'
    values = (("an apple",), ("two iron nails",), ("a dog, perhaps",))
    plugins = ANSWER_PLUGINS


def test_every_tag_of_the_installed_kinds_runs_the_contract() -> None:
    contracts = [*KindContract.__subclasses__(), *SpansContract.__subclasses__()]
    configs = "".join(getattr(contract, "config", "") for contract in contracts)
    assert all(f"<{tag} " in configs for tag in kinds_by_tag())
    assert registry.installed("kind") <= {contract.kind.name for contract in contracts}
