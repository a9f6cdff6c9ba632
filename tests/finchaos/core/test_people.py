import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finchaos.core.errors import InputError
from finchaos.core.people import LONGEST, checked_name, same_person

NAMES = st.lists(
    st.text(st.characters(categories=["Lu", "Ll"], max_codepoint=0x24F), min_size=2, max_size=9),
    min_size=1,
    max_size=4,
).map(" ".join)


@pytest.mark.parametrize(
    "other",
    [
        "ada lovelace",
        "ADA  LOVELACE ",
        "Ada\u00a0Lovelace",
        "Lovelace, Ada",
        "AdaLovelace",
        "Ada-Lovelace",
        "Ada Lovelace.",
        "Àda Lovelacé",
        "Ａｄａ Ｌｏｖｅｌａｃｅ",
        "Ada\u200b Lovelace",
        "\u0410da L\u043evelace",
        "Ada L\u03bfvelace",
    ],
)
def test_spellings_of_one_person(other):
    assert same_person("Ada Lovelace", other)
    assert same_person(other, "Ada Lovelace")


@pytest.mark.parametrize("other", ["Ada Byron", "Ida Lovelace", "Ada Lovelac", "Bob", "Анна Ада"])
def test_other_people(other):
    assert not same_person("Ada Lovelace", other)


def test_names_of_other_alphabets_keep_apart():
    assert same_person("Анна Вернер", "АННА ВЕРНЕР")
    assert not same_person("Анна Вернер", "Инна Вернер")
    assert not same_person("王伟", "王芳")


@given(NAMES)
def test_case_spaces_and_normal_form_never_make_another_person(name):
    for other in (
        name.casefold(),
        f"  {name}\t",
        name.replace(" ", "  "),
        unicodedata.normalize("NFD", name),
        " ".join(reversed(name.split())),
    ):
        assert same_person(name, other)


def test_a_name_is_stored_with_single_spaces():
    assert checked_name("  Ada \t Lovelace ") == "Ada Lovelace"
    assert checked_name("É") == checked_name("É")


@pytest.mark.parametrize(
    "name", ["", "  ", "...", "12", "a" * (LONGEST + 1), "Ada\x00", "A\u202eb"]
)
def test_what_is_no_name_is_refused(name):
    with pytest.raises(InputError, match="cannot be the name"):
        checked_name(name)
