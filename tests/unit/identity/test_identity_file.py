import pytest

from memxfer.errors import ConfigError
from memxfer.identity import IdentityMap
from memxfer.models import MemoryRecord, Scope


@pytest.fixture
def read(tmp_path):
    def written(text, encoding="utf-8"):
        file = tmp_path / "people.csv"
        file.write_bytes(text.encode(encoding))
        return IdentityMap.read(file)

    return written


def owned(**scope):
    return MemoryRecord(id="r", content="x", scope=Scope(**scope))


def test_a_line_gives_its_records_another_owner_and_leaves_the_rest_of_the_scope(read):
    people = read("user,to_user,to_tenant\nold-ann,ann,acme\n")

    assert people(owned(user="old-ann", session="s")).scope == Scope(user="ann", tenant="acme", session="s")


def test_a_record_that_no_line_is_about_comes_back_as_the_same_object(read):
    people = read("user,to_user\nold-ann,ann\n")
    bob, nobody = owned(user="bob"), owned()

    assert people(bob) is bob
    assert people(nobody) is nobody


def test_a_line_that_changes_nothing_is_no_change(read):
    ann = owned(user="ann")

    assert read("user,to_user\nann,ann\n")(ann) is ann


def test_memories_of_an_agent_alone_can_be_given_to_a_user(read):
    people = read("user,agent,to_user\n,helper,ann\n")

    assert people(owned(agent="helper")).scope == Scope(agent="helper", user="ann")


def test_the_line_that_says_most_about_a_record_wins(read):
    people = read("user,agent,to_user\nann,,first\nann,helper,second\n")

    assert people(owned(user="ann")).scope.user == "first"
    assert people(owned(user="ann", agent="helper")).scope.user == "second"
    assert people(owned(user="ann", agent="other")).scope.user == "first"


def test_ids_are_taken_as_they_are_written(read):
    people = read('user,to_user\n" ann, ""b"" ",Ä/1\n', encoding="utf-8-sig")

    assert people(owned(user=' ann, "b" ')).scope.user == "Ä/1"
    assert len(people) == 1


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "needs a column"),
        ("user\nann\n", "needs a column like user, and one like to_user"),
        ("to_user\nann\n", "needs a column"),
        ("user,to_usr\na,b\n", "no column 'to_usr'; known: agent"),
        ("user,user,to_user\na,a,b\n", "twice"),
        ("user,to_user\nann\n", "line 2: as many cells"),
        ("user,to_user\nann,a,b\n", "line 2: as many cells"),
        ("user,to_user\n,ann\n", "line 2: says either"),
        ("user,to_user\nann,\n", "line 2: says either"),
        ("user,to_user\nann,a\nann,b\n", "line 3: an earlier line says something else"),
        ('user,to_user\n"ann,a\n', "is not CSV"),
    ],
)
def test_a_file_that_leaves_a_doubt_is_refused_with_its_line(read, text, said):
    with pytest.raises(ConfigError, match=said):
        read(text)


def test_the_same_line_twice_is_no_doubt(read):
    assert len(read("user,to_user\nann,a\nann,a\n")) == 1


def test_a_file_that_is_not_there_or_not_text_is_refused(tmp_path, read):
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        IdentityMap.read(tmp_path / "none.csv")
    with pytest.raises(ConfigError, match="is not UTF-8"):
        read("user,to_user\nä,b\n", encoding="latin-1")


def test_the_digest_follows_the_text(read):
    first, same, other = (read(f"user,to_user\nann,{to}\n").digest for to in "aab")

    assert first == same != other
