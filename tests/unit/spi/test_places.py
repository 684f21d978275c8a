import pytest

from memxfer.spi.places import address_place, path_place

HERE = [
    "http://localhost:8000",
    "http://LOCALHOST:8000/",
    "http://127.0.0.1:8000//",
    "http://127.1:8000",
    "http://127.8.8.8:8000/?token=t",
    "http://[::1]:8000/",
    "http://[::ffff:127.0.0.1]:8000",
    "http://0.0.0.0:8000",
    "http://api.localhost.:8000",
    "http://me:pw@localhost:8000",
    "localhost:8000",
]


@pytest.mark.parametrize("url", HERE)
def test_one_service_of_this_machine_has_one_place(url):
    assert address_place(url) == "localhost:8000/"


@pytest.mark.parametrize(
    ("one", "other", "is_one"),
    [
        ("https://api.example.com", "https://API.example.com.:443/", True),
        ("http://example.com/v1/", "http://example.com:80/v1", True),
        ("http://example.com", "https://example.com", False),
        ("http://example.com/a", "http://example.com/b", False),
        ("http://localhost:8000", "http://localhost:8001", False),
        ("http://localhost:80", "http://example.com:80", False),
        ("http://a.example.com", "http://b.example.com", False),
    ],
)
def test_host_port_and_path_tell_services_apart(one, other, is_one):
    assert (address_place(one) == address_place(other)) is is_one


def test_a_place_says_no_login():
    assert "secret" not in address_place("http://user:secret@example.com:99999/?key=secret")


def test_a_folder_has_one_place_by_whatever_way(tmp_path, monkeypatch):
    folder = tmp_path / "real"
    folder.mkdir()
    (tmp_path / "link").symlink_to(folder)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    ways = [folder, "real", "./real/", "link", "real/../real", "~/link", tmp_path / "link" / "."]
    assert len({path_place(way) for way in ways}) == 1
    assert path_place("other") != path_place("real")
    assert path_place("other") == path_place("real/../other")
