"""`--services` keeps what touches a service: by a fixture, by a fixture's fixture, by a parameter; and nothing else."""

import pytest

from tests.selection import LONG, place, touches


@pytest.fixture(params=["sqlite", "postgres"])
def kind(request):
    return request.param


def test_a_parameter_that_names_a_service_counts(request, kind):
    assert touches(request.node) is (kind == "postgres")


def test_a_fixture_of_a_fixture_counts(request, shop_url):
    assert "postgres_url" in request.node.fixturenames and touches(request.node)


def test_what_touches_no_service_is_left_out(request, tmp_path, services):
    assert not touches(request.node)


def test_every_long_file_is_there_and_stands_before_the_others(request):
    assert [name for name in LONG if not (request.path.parent / f"{name}.py").is_file()] == []
    assert place(request.node) > LONG.index(LONG[-1])
