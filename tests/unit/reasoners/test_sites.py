from __future__ import annotations

import pytest

from reverse_codi.reasoners.sites import ANSWER, Site

NO_THOUGHTS = ["", "h", "2", "H2", "x2", "h-1", "h2@", "h2@x", "h2 z2", "h 2", "answer0"]
NO_STATES = ["t5", "t5:", "t:16", "t5@16", "t5:-1", "t5:16@3", "h2:16", "answer:3"]


@pytest.mark.parametrize(
    ("text", "site"),
    [
        ("h0", Site("h", 0)),
        ("z4", Site("z", 4)),
        ("h2@12", Site("h", 2, 12)),
        (" h10 ", Site("h", 10)),
        ("t5:16", Site("t", 5, iteration=16)),
        ("t0:0", Site("t", 0, iteration=0)),
        ("answer", ANSWER),
    ],
)
def test_parse_and_write(text: str, site: Site) -> None:
    assert Site.parse(text) == site
    assert Site.parse(str(site)) == site
    assert str(site) == text.strip()


@pytest.mark.parametrize("text", [*NO_THOUGHTS, *NO_STATES])
def test_what_is_no_site_is_named_with_the_fix(text: str) -> None:
    with pytest.raises(ValueError, match=r"write h2, z4, h2@12, t5:16 or answer") as error:
        Site.parse(text)
    assert repr(text) in str(error.value)


def test_a_latent_input_has_no_layer() -> None:
    with pytest.raises(ValueError, match="write z4"):
        Site.parse("z4@3")


def test_a_negative_index_is_refused() -> None:
    with pytest.raises(ValueError, match="-1"):
        Site("h", -1)


def test_sites_sort_and_serve_as_keys() -> None:
    sites = [Site("z", 0), Site("h", 10), Site("h", 2), Site("h", 0)]
    assert [str(site) for site in sorted(sites)] == ["h0", "h2", "h10", "z0"]
    assert len({*sites, Site.parse("h2")}) == 4


@pytest.mark.parametrize("iteration", [None, -1])
def test_a_recurrent_state_has_an_iteration(iteration: int | None) -> None:
    with pytest.raises(ValueError, match="write t5:16"):
        Site("t", 5, iteration=iteration)


def test_a_recurrent_state_has_no_layer_and_a_thought_no_iteration() -> None:
    with pytest.raises(ValueError, match="no layer; write t5:16"):
        Site("t", 5, layer=2, iteration=16)
    with pytest.raises(ValueError, match="h2 with iteration 16: only a recurrent state"):
        Site("h", 2, iteration=16)


def test_recurrent_states_sort_by_token_then_iteration() -> None:
    sites = [Site.parse(text) for text in ("t1:0", "t0:16", "t0:2")]
    assert [str(site) for site in sorted(sites)] == ["t0:2", "t0:16", "t1:0"]
