from __future__ import annotations

import pytest

from reverse_codi.sites import ANSWER, Site


@pytest.mark.parametrize(
    ("text", "site"),
    [
        ("h0", Site("h", 0)),
        ("z4", Site("z", 4)),
        ("h2@12", Site("h", 2, 12)),
        (" h10 ", Site("h", 10)),
        ("answer", ANSWER),
    ],
)
def test_parse_and_write(text: str, site: Site) -> None:
    assert Site.parse(text) == site
    assert Site.parse(str(site)) == site
    assert str(site) == text.strip()


@pytest.mark.parametrize("text", ["", "h", "2", "H2", "x2", "h-1", "h2@", "h2@x", "h2 z2", "h 2", "answer0"])
def test_what_is_no_site_is_named_with_the_mend(text: str) -> None:
    with pytest.raises(ValueError, match=r"write h2, z4, h2@12 or answer") as error:
        Site.parse(text)
    assert repr(text) in str(error.value)


def test_a_fed_vector_has_no_layer() -> None:
    with pytest.raises(ValueError, match="write z4"):
        Site.parse("z4@3")


def test_a_negative_index_is_refused() -> None:
    with pytest.raises(ValueError, match="-1"):
        Site("h", -1)


def test_sites_sort_and_serve_as_keys() -> None:
    sites = [Site("z", 0), Site("h", 10), Site("h", 2), Site("h", 0)]
    assert [str(site) for site in sorted(sites)] == ["h0", "h2", "h10", "z0"]
    assert len({*sites, Site.parse("h2")}) == 4
